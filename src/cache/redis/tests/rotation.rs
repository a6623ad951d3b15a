//! A new key is taken into use while values of the old one are still read, and replicas with either order share what lies there.

use super::*;

fn secrets_of(sealing: u32, retired: u32) -> RedisSecrets {
    let key = |id: u32| SealingKey::new(id, [u8::try_from(id).unwrap(); 32]);
    RedisSecrets { naming: Zeroizing::new([1; 32]), sealing: key(sealing), retired: vec![key(retired)] }
}

/// Goal: no replica reads the registry anew because keys are being rotated, replica by replica. Method: one that seals with the
/// first key and one that seals with the second share a Redis; each reads what the other wrote.
#[tokio::test]
async fn replicas_in_the_middle_of_a_rotation_share_what_redis_holds() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    let (before, after) = (secrets_of(2, 3), secrets_of(3, 2));
    let replica = |secrets: &RedisSecrets| Replica::with(&source, RedisOptions::new(server.url()), secrets);
    for (n, writes, reads) in [(0, &before, &after), (1, &after, &before)] {
        let writer = replica(writes);
        writer.becomes(BreakerState::Closed).await;
        writer.ask(n).await;
        eventually("written", || server.keys(FACTS).len() > usize::try_from(n).unwrap()).await;
        let reader = replica(reads);
        reader.becomes(BreakerState::Closed).await;
        assert_eq!(reader.ask(n).await.source, FactSource::Redis, "subject {n}");
        assert!(!reader.saw(RedisFault::Unsealable));
    }
    let stranger = replica(&secrets_of(4, 5));
    stranger.becomes(BreakerState::Closed).await;
    assert_eq!(stranger.ask(0).await.source, FactSource::Registry);
    assert!(stranger.saw(RedisFault::Unsealable));
}
