//! Notes about requests, over the connection the facts take.

use redis::Commands as _;
use rustix::process::Signal;

use super::*;
use crate::verification::ports::{NotShared, RequestName, SharedNotes};

/// Starts a replica's level alone, for the notes.
async fn notes_of(server: &Server) -> (RedisLevel, Arc<dyn SharedNotes>, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let level = RedisLevel::start(
        RedisOptions::new(server.url()),
        &secrets(),
        Arc::new(Codec),
        Arc::new(RealClock),
        Arc::clone(&notes) as Arc<dyn CacheObserver>,
        &Handle::current(),
    );
    let level = level.unwrap();
    let shared = level.notes();
    eventually("it is connected", || shared.is_asked()).await;
    (level, shared, notes)
}

const KEPT_FOR: Duration = Duration::from_secs(60);

/// Goal: of two replicas one has a request, and what it leaves is read by the other and by nobody else. Method: two levels on one
/// server; what lies there is looked at, moved, changed and made to go.
#[tokio::test]
async fn replicas_leave_each_other_notes_that_name_and_tell_nothing() {
    let server = Server::start(&[]);
    let (_one, first, _) = notes_of(&server).await;
    let (_other, second, heard) = notes_of(&server).await;
    let partner = "rental-demo".parse().unwrap();
    let name = |id| RequestName { partner: &partner, id };
    let leave = |notes: &Arc<dyn SharedNotes>, id: &'static str| {
        let (notes, partner) = (Arc::clone(notes), partner.clone());
        async move {
            let name = RequestName { partner: &partner, id };
            notes.leave_or_read(name, MARKER, KEPT_FOR, within(DEADLINE)).await
        }
    };
    assert_eq!(leave(&first, "request-1").await, Ok(None));
    assert_eq!(leave(&second, "request-1").await, Ok(Some(MARKER.to_vec())));
    assert_eq!(leave(&second, "request-2").await, Ok(None), "another request");

    let mut console = server.console();
    let keys: Vec<String> = console.keys("dg:r:*").unwrap();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        assert!(!key.contains("request") && !key.contains("rental"), "{key}");
        let value: Vec<u8> = console.get(key).unwrap();
        assert!(!value.windows(MARKER.len()).any(|window| window == MARKER), "it is sealed");
        let left: i64 = console.pttl(key).unwrap();
        assert!((1..=60_000).contains(&left), "{left}");
    }
    let [one, other]: [Vec<u8>; 2] = [&keys[0], &keys[1]].map(|key| console.get(key).unwrap());
    let (): () = console.set(&keys[0], other).unwrap();
    let (): () = console.set(&keys[1], &one[..one.len() - 1]).unwrap();
    for id in ["request-1", "request-2"] {
        assert_eq!(leave(&second, id).await, Err(NotShared), "moved or cut");
    }
    assert!(heard.redis_faults.lock().unwrap().contains(&RedisFault::Unsealable));

    first.replace(name("request-1"), b"answer", KEPT_FOR);
    for _ in 0..500 {
        if leave(&second, "request-1").await == Ok(Some(b"answer".to_vec())) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(leave(&second, "request-1").await, Ok(Some(b"answer".to_vec())));
    first.take_away(name("request-1"));
    eventually("it is gone", || server.console().keys::<_, Vec<String>>("dg:r:*").unwrap().len() == 1).await;
}

/// A Redis that hangs, or is gone, keeps nobody waiting longer than its bound, and soon nobody at all.
#[tokio::test]
async fn a_redis_that_hangs_keeps_no_request_waiting() {
    let mut server = Server::start(&[]);
    let (_level, shared, _) = notes_of(&server).await;
    let partner = "rental-demo".parse().unwrap();
    server.signal(Signal::STOP);
    let mut asked = 0;
    while shared.is_asked() {
        let name = RequestName { partner: &partner, id: "request-1" };
        let began = RealClock.since_boot();
        assert_eq!(shared.leave_or_read(name, b"note", KEPT_FOR, within(DEADLINE)).await, Err(NotShared));
        assert!(RealClock.since_boot() - began < DEADLINE);
        asked += 1;
        assert!(asked <= 10, "the breaker opens");
    }
    server.signal(Signal::CONT);
    server.kill();
    let name = RequestName { partner: &partner, id: "request-1" };
    shared.replace(name, b"note", KEPT_FOR);
    shared.take_away(name);
    assert_eq!(shared.leave_or_read(name, b"note", KEPT_FOR, within(DEADLINE)).await, Err(NotShared));
}
