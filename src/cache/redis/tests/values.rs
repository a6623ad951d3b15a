//! What lies in Redis is sealed, found by other replicas, and judged like any other fact.

use redis::Commands as _;

use super::*;
use crate::cache::StaleCause;
use crate::cache::redis::link::{LAST_BYTE_READ, VALUE_BYTES_MAX};
use crate::cache::redis::seal::Sealer;
use crate::verification::ports::Soon;

#[test]
fn one_byte_more_than_a_value_has_is_asked_for() {
    assert_eq!(LAST_BYTE_READ, VALUE_BYTES_MAX.to_string());
}

#[tokio::test]
async fn what_one_replica_read_another_finds_in_redis() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    fill(&server, &source, 3).await;
    let reads = source.read_count();

    let other = Replica::connected(&source, &server).await;
    let fact = other.ask(1).await;
    assert_eq!((changes_of(&fact), fact.source, fact.position), (3, FactSource::Redis, at(1, 3)));
    assert_eq!(fact.record.unwrap().subject, subject(1));
    let unknown = other.ask(2).await;
    assert_eq!((unknown.record.is_none(), unknown.source), (true, FactSource::Redis));
    assert!(matches!(other.facts.look_up(number(1), None, within(DEADLINE), CLAIM), Soon::Now(Ok(_))));
    assert_eq!(source.read_count(), reads);
    assert!(!other.saw(RedisFault::Unsealable));
}

#[tokio::test]
async fn redis_holds_nothing_in_the_clear_and_not_for_ever() {
    let server = Server::start(&[]);
    fill(&server, &registry_of(3), 3).await;
    let mut console = server.console();
    for key in console.keys::<_, Vec<String>>("*").unwrap() {
        let value: Vec<u8> = console.get(&key).unwrap();
        assert!(!value.windows(MARKER.len()).any(|window| window == MARKER));
        assert!((0..3).all(|n| !value.windows(8).any(|window| window == &subject(n).as_bytes()[8..])));
        let seconds: i64 = console.ttl(&key).unwrap();
        assert!((1..=3_600).contains(&seconds));
    }
}

#[tokio::test]
async fn a_change_makes_the_value_in_redis_useless_at_once() {
    let server = Server::start(&[]);
    let source = registry_of(1);
    fill(&server, &source, 1).await;
    let mut console = server.console();
    let key = console.keys::<_, Vec<String>>(FACTS).unwrap().remove(0);
    let before: Vec<u8> = console.get(&key).unwrap();

    let replica = Replica::connected(&source, &server).await;
    let position = source.put(0, 4);
    replica.freshness.changed(&subject(0), &[number(0)], position);
    assert_eq!(changes_of(&replica.ask(0).await), 4);
    assert_eq!(
        *replica.notes.refused.lock().unwrap(),
        [(FactSource::Redis, StaleCause::Outdated)],
        "the held value was met and refused"
    );
    // A Redis that brings the past back (failover, reordering) brings nothing back here.
    eventually("the new value is written", || server.console().get::<_, Vec<u8>>(&key).unwrap() != before)
        .await;
    let () = console.set(&key, &before).unwrap();
    let late = Replica::over(&source, RedisOptions::new(server.url()));
    late.becomes(BreakerState::Closed).await;
    late.freshness.changed(&subject(0), &[number(0)], position);
    assert_eq!(changes_of(&late.ask(0).await), 4);
}

#[tokio::test]
async fn values_of_another_epoch_or_of_an_earlier_life_are_read_anew() {
    let server = Server::start(&[]);
    let source = registry_of(1);
    fill(&server, &source, 1).await;
    source.restore(2, 0);
    let restored = Replica::connected(&source, &server).await;
    assert_eq!(restored.ask(0).await.source, FactSource::Registry);
    assert_eq!(restored.notes.refused.lock().unwrap()[0], (FactSource::Redis, StaleCause::OtherEpoch));

    // Nobody told this replica of the changes since the value was written: it cannot judge it.
    eventually("rewritten", || !restored.notes.refused.lock().unwrap().is_empty()).await;
    source.put(0, 9);
    let restarted = Replica::connected(&source, &server).await;
    restarted.freshness.told_from(at(2, 1));
    let fact = restarted.ask(0).await;
    assert_eq!((changes_of(&fact), fact.source), (9, FactSource::Registry));
}

#[tokio::test]
async fn a_redis_that_lies_is_a_miss() {
    let server = Server::start(&[]);
    let source = registry_of(8);
    fill(&server, &source, 8).await;
    let sealer = Sealer::new(&secrets()).unwrap();
    let mut console = server.console();
    let key = |n: u64| sealer.name(number(n)).unwrap().to_vec();
    let held = |console: &mut redis::Connection, n: u64| console.get::<_, Vec<u8>>(key(n)).unwrap();

    let (first, second) = (held(&mut console, 0), held(&mut console, 1));
    let () = console.set(key(0), &second).unwrap();
    let () = console.set(key(1), &first).unwrap();
    let mut corrupt = held(&mut console, 2);
    corrupt[30] ^= 1;
    let () = console.set(key(2), corrupt).unwrap();
    let truncated = held(&mut console, 3)[..20].to_vec();
    let () = console.set(key(3), truncated).unwrap();
    let () = console.set(key(4), vec![1_u8; 1 << 20]).unwrap();
    let () = console.del(key(5)).unwrap();
    let () = console.rpush(key(5), "a list").unwrap();
    let undecodable = sealer.seal(&sealer.name(number(6)).unwrap(), at(1, 100), Some(b"no record")).unwrap();
    let () = console.set(key(6), undecodable).unwrap();

    let replica = Replica::connected(&source, &server).await;
    for n in 0..7 {
        let fact = replica.ask(n).await;
        assert_eq!((changes_of(&fact), fact.source), (3, FactSource::Registry), "subject {n}");
        assert_eq!(fact.record.unwrap().subject, subject(n));
    }
    assert_eq!(replica.ask(7).await.source, FactSource::Redis, "the honest rest is used");
    let faults = replica.notes.redis_faults.lock().unwrap().clone();
    let count = |fault| faults.iter().filter(|seen| **seen == fault).count();
    assert_eq!(count(RedisFault::Unsealable), 5);
    assert_eq!((count(RedisFault::Refused), count(RedisFault::Undecodable)), (1, 1));
}
