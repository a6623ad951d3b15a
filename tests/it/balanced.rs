//! Behind a balancer: the PROXY protocol names the caller, and nobody else may.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use drivegate::gateway::proto::GetLimitsRequest;
use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::harness::{Deployment, Gateway, block_on};

/// Goal: with a balancer listed, bounds by address count the callers it names, and only it is believed.
/// Method: every connection comes from 127.0.0.1; a balancer in between says otherwise.
#[test]
fn callers_behind_a_listed_balancer_are_told_apart() {
    let deployment = Deployment::new();
    deployment.configure(|config| {
        let listen = config["listen"].as_table_mut().expect("a table");
        listen.insert("proxy_protocol_from".to_owned(), vec!["127.0.0.1/32"].into());
        let bounds = toml::Table::from_iter([("connections_per_address_max".to_owned(), 1.into())]);
        config.insert("bounds".to_owned(), bounds.into());
    });
    let gateway = deployment.serve();
    block_on(async {
        let [one, other] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let first = open(&gateway, balancer(gateway.address(), Some(one)).await).await;
        let mut first = VerificationServiceClient::new(first.expect("a caller of its own address"));
        first.get_limits(GetLimitsRequest::default()).await.expect("it is served");
        assert!(open(&gateway, balancer(gateway.address(), Some(one)).await).await.is_err(), "a second one");
        open(&gateway, balancer(gateway.address(), Some(other)).await).await.expect("another caller");
        assert!(open(&gateway, balancer(gateway.address(), None).await).await.is_err(), "nobody is named");
    });
    let (_, metrics) = gateway.page("/metrics");
    let counted = |outcome: &str| {
        let is_it = |line: &&str| line.contains("handshake") && line.contains(outcome);
        metrics.lines().any(|line| is_it(&line) && !line.ends_with(" 0"))
    };
    assert!(counted("outcome=\"accepted\"") && counted("outcome=\"protocol\""), "{metrics}");
    assert!(gateway.stop());
}

#[test]
fn a_list_that_names_everybody_is_refused() {
    let deployment = Deployment::new();
    for (network, said) in [("0.0.0.0/0", "must not name everybody"), ("10.0.0.0/33", "proxy_protocol_from")]
    {
        deployment.configure(|config| {
            let listen = config["listen"].as_table_mut().expect("a table");
            listen.insert("proxy_protocol_from".to_owned(), vec![network].into());
        });
        let config = deployment.folder().join("config.toml");
        let checked = deployment.try_run(&["check", "--config", config.to_str().expect("text")]);
        let told = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        // Lines may be wrapped to the terminal's width.
        let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!checked.status.success() && words.contains(said), "{network}: {told}");
    }
}

async fn open(
    gateway: &Gateway<'_>,
    through: SocketAddr,
) -> Result<tonic::transport::Channel, drivegate::identity::client::ClientError> {
    gateway.tls("rental-demo").connect(through, "localhost", Duration::from_secs(5)).await
}

/// A balancer that hands connections on, and says for whom.
async fn balancer(to: SocketAddr, caller: Option<Ipv4Addr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut onward = TcpStream::connect(to).await.expect("the gateway accepts");
            tokio::spawn(async move {
                if let Some(caller) = caller {
                    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
                    header.extend(caller.octets());
                    header.extend([10, 0, 0, 1, 0x12, 0x67, 1, 0xbb]);
                    onward.write_all(&header).await.expect("the gateway reads");
                }
                let _ended = tokio::io::copy_bidirectional(&mut from, &mut onward).await;
            });
        }
    });
    address
}
