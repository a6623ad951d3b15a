//! Redis may fail in any way: it costs time, within bounds, and no answer.

use rustix::process::Signal;

use super::*;
use crate::verification::ports::LookUpError;

#[tokio::test]
async fn an_emptied_redis_is_filled_again() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    fill(&server, &source, 2).await;
    let replica = Replica::connected(&source, &server).await;
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);
    let () = redis::cmd("FLUSHALL").query(&mut server.console()).unwrap();
    assert_eq!(replica.ask(1).await.source, FactSource::Registry);
    eventually("written again", || server.keys(FACTS).len() == 1).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_used_once_it_is() {
    let mut server = Server::reserve(&[]);
    let source = registry_of(2);
    let replica = Replica::over(&source, RedisOptions::new(server.url()));
    assert_eq!(replica.ask(0).await.source, FactSource::Registry);
    eventually("told", || replica.saw(RedisFault::Disconnected)).await;
    server.revive();
    replica.becomes(BreakerState::Closed).await;
    replica.ask(1).await;
    eventually("in use", || !server.keys(FACTS).is_empty()).await;
}

#[tokio::test]
async fn a_killed_redis_costs_no_answer_and_comes_back() {
    let mut server = Server::start(&[]);
    let source = registry_of(200);
    let replica = Replica::connected(&source, &server).await;
    replica.ask(0).await;
    server.kill();
    for n in 1..100 {
        assert_eq!(changes_of(&replica.ask(n).await), 3);
    }
    replica.becomes(BreakerState::Open).await;
    assert!(
        replica.could_not_write(RedisFault::NotAsked) || replica.could_not_write(RedisFault::Disconnected)
    );
    server.revive();
    replica.becomes(BreakerState::Closed).await;
    // After the pause that follows a failed write, facts are written again.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    replica.ask(150).await;
    eventually("written again", || !server.keys(FACTS).is_empty()).await;
}

#[tokio::test]
async fn a_redis_that_stops_answering_is_not_waited_for_and_comes_back() {
    let server = Server::start(&[]);
    let source = registry_of(400);
    let replica = Replica::connected(&source, &server).await;
    replica.ask(0).await;
    server.signal(Signal::STOP);
    let stopped = RealClock.since_boot();
    for n in 1..50 {
        assert_eq!(replica.ask(n).await.source, FactSource::Registry);
    }
    assert_eq!(*replica.notes.breaker.lock().unwrap(), [BreakerState::Closed, BreakerState::Open]);
    assert!(
        RealClock.since_boot() - stopped < Duration::from_secs(1),
        "open within a second, then no waiting"
    );
    assert!(replica.saw(RedisFault::Timeout));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = RealClock.since_boot();
    for n in 50..150 {
        replica.ask(n).await;
    }
    assert!(RealClock.since_boot() - began < Duration::from_millis(500), "probes wait, requests do not");
    server.signal(Signal::CONT);
    replica.becomes(BreakerState::Closed).await;
    replica.ask(300).await;
    // The value of the late question is written, and another replica finds it.
    eventually("in use again", || !server.keys(FACTS).is_empty()).await;
}

#[tokio::test]
async fn a_full_redis_still_answers_reads_and_is_not_hammered() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let source = registry_of(300);
    fill(&server, &source, 1).await;
    let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").query(&mut server.console()).unwrap();
    let replica = Replica::connected(&source, &server).await;
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);
    for n in 1..200 {
        assert_eq!(changes_of(&replica.ask(n).await), 3);
    }
    eventually("told", || replica.could_not_write(RedisFault::Full)).await;
    assert_eq!(replica.notes.breaker.lock().unwrap().last(), Some(&BreakerState::Closed), "reads go on");
    let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").query(&mut server.console()).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    replica.ask(250).await;
    eventually("written again", || server.keys(FACTS).len() > 1).await;
}

#[tokio::test]
async fn a_redis_that_became_a_replica_still_answers_reads() {
    let server = Server::start(&[]);
    let source = registry_of(10);
    fill(&server, &source, 1).await;
    let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query(&mut server.console()).unwrap();
    let replica = Replica::connected(&source, &server).await;
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);
    assert_eq!(replica.ask(5).await.source, FactSource::Registry);
    eventually("told", || replica.could_not_write(RedisFault::ReadOnly)).await;
}

#[tokio::test]
async fn a_redis_that_forbids_reading_opens_the_breaker() {
    let server = Server::start(&[]);
    let source = registry_of(50);
    let replica = Replica::connected(&source, &server).await;
    let () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("default")
        .arg("-getrange")
        .query(&mut server.console())
        .unwrap();
    for n in 0..20 {
        assert_eq!(replica.ask(n).await.source, FactSource::Registry);
    }
    assert_eq!(replica.notes.breaker.lock().unwrap()[..2], [BreakerState::Closed, BreakerState::Open]);
    assert!(replica.saw(RedisFault::Refused) && replica.saw(RedisFault::NotAsked));
    let () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("default")
        .arg("+getrange")
        .query(&mut server.console())
        .unwrap();
    replica.becomes(BreakerState::Closed).await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_not_hidden_by_redis_longer_than_facts_are_usable() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    fill(&server, &source, 1).await;
    let replica = Replica::connected(&source, &server).await;
    source.fail_with(Some(LookUpError::RegistryUnavailable));
    assert_eq!(replica.ask(0).await.source, FactSource::Redis, "known to be current");
    replica.freshness.changed(&subject(0), &[number(0)], source.put(0, 4));
    let failed = replica.facts.look_up(number(0), None, within(DEADLINE), CLAIM).wait().await;
    assert_eq!(failed.unwrap_err(), LookUpError::RegistryUnavailable, "never an old fact");
}
