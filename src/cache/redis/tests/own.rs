//! A core's own connection: used while it is good, given up with the keeper's, made anew by itself.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::*;

/// The ids of all connections but the one that asks.
fn connections(server: &Server) -> BTreeSet<u64> {
    let mut console = server.console();
    let me: u64 = redis::cmd("CLIENT").arg("ID").query(&mut console).unwrap();
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut console).unwrap();
    let id = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=")?.parse().ok());
    list.lines().filter_map(id).filter(|id| *id != me).collect()
}

/// Goal: what a core asks goes over its own connection, and a connection that is lost, its own or the keeper's, costs no answer and is
/// made anew. Method: the server says which connections there are; one after the other is killed.
#[tokio::test]
async fn a_core_asks_over_its_own_connection_and_has_it_again_when_one_is_lost() {
    let server = Server::start(&[]);
    let source = registry_of(100);
    fill(&server, &source, 60).await;
    let replica = Replica::connected(&source, &server).await;
    let two = connections(&server);
    assert_eq!(two.len(), 2, "the keeper's, and the core's");
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);

    let mut next = 1;
    for lost in two {
        let mut console = server.console();
        let () = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(lost).query(&mut console).unwrap();
        for _ in 0..10 {
            replica.ask(next).await;
            next += 1;
        }
        replica.becomes(BreakerState::Closed).await;
        replica.asks_by_itself().await;
        assert_eq!(replica.ask(next).await.source, FactSource::Redis, "after {lost} was lost");
        next += 1;
    }
    eventually("two again", || connections(&server).len() == 2).await;
}

/// Goal: a connection on which a server hung is not used again, whatever the probe over the keeper's said.
#[tokio::test]
async fn a_core_whose_server_hung_connects_anew() {
    let server = Server::start(&[]);
    let source = registry_of(60);
    let replica = Replica::connected(&source, &server).await;
    let before = connections(&server);
    server.signal(Signal::STOP);
    for n in 0..20 {
        assert_eq!(replica.ask(n).await.source, FactSource::Registry);
    }
    replica.becomes(BreakerState::Open).await;
    assert!(!replica.facts.redis().unwrap().asks_by_itself(), "given up with the breaker");
    server.signal(Signal::CONT);
    replica.becomes(BreakerState::Closed).await;
    replica.asks_by_itself().await;
    replica.ask(50).await;
    // The keeper's may be the one it was: its probe was answered in the end.
    eventually("two, one of them new", || {
        let now = connections(&server);
        now.len() == 2 && !now.is_subset(&before)
    })
    .await;
}

#[tokio::test]
async fn a_core_that_ends_gives_its_connection_up() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    let mut replica = Replica::connected(&source, &server).await;
    replica.core.shutdown().await;
    assert!(!replica.facts.redis().unwrap().asks_by_itself());
    eventually("closed", || connections(&server).len() == 1).await;
    replica.ask(0).await;
}
