//! Behind a balancer, over real sockets and real TLS.

use tokio::net::{TcpListener, TcpStream};

use super::super::proxied::tests::{header, ipv4};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Whoever comes from this machine is a balancer.
fn behind(options: AcceptorOptions) -> House {
    House::behind(options, vec!["127.0.0.0/8".parse().unwrap()])
}

/// A balancer that writes this in front of every connection it hands on, a piece at a time.
async fn balancer(to: SocketAddr, pieces: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(to).await.unwrap();
                onward.set_nodelay(true).unwrap();
                for piece in pieces {
                    onward.write_all(&piece).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let _ended = tokio::io::copy_bidirectional(&mut from, &mut onward).await;
            });
        }
    });
    address
}

/// Opens a partner's connection through a balancer that writes this.
async fn open_behind(
    house: &mut House,
    pieces: Vec<Vec<u8>>,
) -> Result<crate::identity::client::ClientStream, ClientError> {
    let issued = house.client(None);
    let through = balancer(house.address, pieces).await;
    house.tls(Some(&issued)).open(through, "localhost", 5 * SECOND).await
}

#[tokio::test]
async fn the_caller_behind_a_listed_balancer_is_the_one_its_header_names() {
    let mut house = behind(AcceptorOptions::default());
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    let byte_by_byte: Vec<Vec<u8>> = ipv4(&[4, 0, 2, 0, 0]).into_iter().map(|byte| vec![byte]).collect();
    for (pieces, caller) in [
        (vec![ipv4(&[])], "192.0.2.7"),
        (byte_by_byte, "192.0.2.7"),
        (vec![header(1, 0x21, &v6)], "2001:db8::"),
        (vec![header(0, 0, &[])], "127.0.0.1"),
    ] {
        let mut stream = open_behind(&mut house, pieces).await.unwrap();
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"hello");
        assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
        assert_eq!(house.connection().remote().ip(), caller.parse::<std::net::IpAddr>().unwrap());
    }
}

#[tokio::test]
async fn bounds_by_address_count_the_callers_and_not_their_balancer() {
    let options = AcceptorOptions { connections_per_address_max: Some(1), ..AcceptorOptions::default() };
    let mut house = behind(options);
    let _first = open_behind(&mut house, vec![ipv4(&[])]).await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
    assert!(open_behind(&mut house, vec![ipv4(&[])]).await.is_err(), "a second one of 192.0.2.7");
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::AddressFull);
    let other = [198, 51, 100, 1, 10, 0, 0, 1, 0, 9, 1, 0xbb];
    let _second = open_behind(&mut house, vec![header(1, 0x11, &other)]).await.unwrap();
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Accepted);
}

#[tokio::test]
async fn a_listed_balancer_that_does_not_say_whose_connection_it_is_is_refused() {
    let mut house = behind(AcceptorOptions::default());
    for pieces in [
        // The partner's TLS, without a header.
        vec![],
        vec![b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec()],
        vec![vec![0xff; 64]],
        vec![header(1, 0, &[])],
        // Refused by its length: nobody waits for the rest.
        vec![header(1, 0x11, &[0; 12_000])[..16].to_vec()],
        vec![ipv4(&[4, 0xff, 0xff, 1])],
    ] {
        let what = format!("{pieces:02x?}");
        assert!(open_behind(&mut house, pieces).await.is_err(), "{what}");
        assert_eq!(house.outcomes.next().await, HandshakeOutcome::ProxyHeader, "{what}");
    }
}

#[tokio::test]
async fn a_balancer_that_falls_silent_is_let_go() {
    let house = behind(AcceptorOptions::default());
    let whole = ipv4(&[]);
    let mut silent = Vec::new();
    for said in [&[][..], &whole[..7], &whole[..20], &whole] {
        let mut socket = TcpStream::connect(house.address).await.unwrap();
        socket.write_all(said).await.unwrap();
        silent.push((socket, said.len()));
    }
    for (mut socket, said) in silent {
        assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0, "closed after {said} bytes");
        assert_eq!(house.outcomes.next().await, HandshakeOutcome::TimedOut);
    }
    for said in [&[][..], &whole[..7], &whole] {
        let mut leaving = TcpStream::connect(house.address).await.unwrap();
        leaving.write_all(said).await.unwrap();
        drop(leaving);
        assert_eq!(house.outcomes.next().await, HandshakeOutcome::Disconnected);
    }
}

#[tokio::test]
async fn nobody_else_may_claim_an_address() {
    let mut house = House::behind(AcceptorOptions::default(), vec!["10.0.0.0/8".parse().unwrap()]);
    assert!(open_behind(&mut house, vec![ipv4(&[])]).await.is_err());
    assert_eq!(house.outcomes.next().await, HandshakeOutcome::Protocol);
    assert!(open_behind(&mut house, vec![]).await.is_ok(), "TLS from the first byte on");
}
