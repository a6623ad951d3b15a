//! Behind a balancer: the PROXY protocol, version 2, says whose connection is handed on.
//!
//! From a listed balancer a header is required, before anything else, whole within the time a client has to speak, and bounded in
//! size. From anybody else none is accepted: its bytes are no TLS. What is read here is believed, so that the list must
//! name the balancer's own addresses and nobody else's.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header, Protocol};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::HandshakeOutcome;

/// Signature, version and command, family and protocol, length (PROXY protocol §2.2).
const HEAD_LEN: usize = 16;
/// Addresses and extensions of a header. A balancer's own extensions take some hundred bytes; with a client's certificate, which
/// nobody needs here, up to 64 KiB.
const REST_LEN_MAX: usize = 4_096;

/// Balancers whose connections begin with a header.
#[derive(Clone, Debug, Default)]
pub(super) struct Balancers(Vec<IpNet>);

impl Balancers {
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(super) fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads the header and not a byte more. Returns whose connection it is: the balancer's own, where it says so (a health check).
pub(super) async fn read_caller(
    socket: &mut TcpStream,
    balancer: SocketAddr,
) -> Result<SocketAddr, HandshakeOutcome> {
    let gone = |_: std::io::Error| HandshakeOutcome::Disconnected;
    let mut header = vec![0; HEAD_LEN];
    socket.read_exact(&mut header).await.map_err(gone)?;
    let rest_len = rest_len(&header).ok_or(HandshakeOutcome::ProxyHeader)?;
    header.resize(HEAD_LEN + rest_len, 0);
    socket.read_exact(&mut header[HEAD_LEN..]).await.map_err(gone)?;
    parse(&header, balancer).ok_or(HandshakeOutcome::ProxyHeader)
}

/// Returns how long the rest of a header is that begins like this.
fn rest_len(head: &[u8]) -> Option<usize> {
    if !head.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return None;
    }
    let length = head.get(HEAD_LEN - 2..HEAD_LEN)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(length))).filter(|rest_len| *rest_len <= REST_LEN_MAX)
}

fn parse(header: &[u8], balancer: SocketAddr) -> Option<SocketAddr> {
    let header = Header::try_from(header).ok()?;
    if header.command == Command::Local {
        // Its addresses are to be ignored (§2.2).
        return Some(balancer);
    }
    if header.protocol != Protocol::Stream || header.tlvs().any(|extension| extension.is_err()) {
        return None;
    }
    match header.addresses {
        Addresses::IPv4(ip) => Some(SocketAddr::from((ip.source_address, ip.source_port))),
        Addresses::IPv6(ip) => Some(SocketAddr::from((ip.source_address, ip.source_port))),
        // Nobody's address: a bound that counts callers could not count this one.
        Addresses::Unspecified | Addresses::Unix(_) => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Version 2 and a command, family and protocol, the rest.
    pub(in crate::identity::acceptor) fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    /// A caller at 192.0.2.7:4711, handed on by a balancer at 10.0.0.1:443.
    pub(in crate::identity::acceptor) fn ipv4(extensions: &[u8]) -> Vec<u8> {
        let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
        header(1, 0x11, &[&addresses, extensions].concat())
    }

    fn caller(header: &[u8]) -> Option<SocketAddr> {
        let balancer = "10.0.0.1:9".parse().unwrap();
        assert_eq!(rest_len(header).map(|rest| rest + HEAD_LEN), Some(header.len()));
        parse(header, balancer)
    }

    #[test]
    fn a_header_names_the_caller() {
        let v4 = "192.0.2.7:4711".parse().unwrap();
        assert_eq!(caller(&ipv4(&[])), Some(v4));
        assert_eq!(caller(&ipv4(&[0xe0, 0, 3, 1, 2, 3, 4, 0, 0])), Some(v4), "extensions are passed over");
        let mut addresses = [0; 36];
        addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        addresses[15] = 1;
        addresses[32..34].copy_from_slice(&4711_u16.to_be_bytes());
        assert_eq!(caller(&header(1, 0x21, &addresses)), Some("[2001:db8::1]:4711".parse().unwrap()));
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        let itself = Some("10.0.0.1:9".parse().unwrap());
        assert_eq!(caller(&header(0, 0, &[])), itself);
        assert_eq!(caller(&header(0, 0x11, &[9; 12])), itself, "whatever addresses it writes");
    }

    #[test]
    fn what_names_nobody_is_refused() {
        let unix = [7; 216];
        let whole = ipv4(&[]);
        let of_version_1 = [&whole[..12], &[0x11], &whole[13..]].concat();
        for (refused, why) in [
            (header(1, 0, &[]), "no address"),
            (header(1, 0x31, &unix), "a path"),
            (header(1, 0x12, &whole[16..]), "a datagram"),
            (header(1, 0x21, &whole[16..]), "too short for its family"),
            (header(2, 0x11, &whole[16..]), "an unknown command"),
            (ipv4(&[0xe0, 0, 9, 1]), "an extension longer than the header"),
            (ipv4(&[0xe0]), "half an extension"),
            (of_version_1, "another version in the binary form"),
        ] {
            assert_eq!(caller(&refused), None, "{why}");
        }
        assert_eq!(rest_len(b"PROXY TCP4 192.0"), None, "the text form");
        assert_eq!(rest_len(&header(1, 0x11, &[0; REST_LEN_MAX + 1])[..HEAD_LEN]), None, "too long");
        assert!(rest_len(&header(1, 0x11, &[0; REST_LEN_MAX])[..HEAD_LEN]).is_some());
    }

    #[test]
    fn any_bytes_come_to_an_end() {
        let whole = ipv4(&[0xe0, 0, 3, 1, 2, 3]);
        let balancer = "10.0.0.1:9".parse().unwrap();
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let _any = (rest_len(&changed), parse(&changed, balancer));
        }
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len], balancer), None, "cut to {len}");
        }
    }

    #[test]
    fn balancers_are_known_by_network_in_either_form() {
        let balancers = Balancers::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        for (address, included) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("2001:db8::9", true),
            ("11.0.0.1", false),
            ("2001:db9::9", false),
            ("::1", false),
        ] {
            assert_eq!(balancers.include(address.parse().unwrap()), included, "{address}");
        }
        assert!(!Balancers::default().include("10.0.0.1".parse().unwrap()));
    }
}
