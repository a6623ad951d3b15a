//! The age of an answer, looked at when it is handed over to the connection.
//!
//! Between the record and the wire an answer may wait, as for the floor. When the connection takes the message it is held to the
//! freshness bound. What grew too old is not sent: the call ends with UNAVAILABLE behind headers without a message.
//!
//! Known limit: hyper takes one message ahead of the peer's window, so that behind a closed window it may still lie and leave later.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::domain::time::Clock;

/// Called when an answer was too old to leave; returns the status that takes its place.
pub(in crate::gateway) type TooOld = Box<dyn FnOnce() -> Status + Send>;

/// A message that leaves in time or not at all.
pub(in crate::gateway) struct Fresh {
    message: Body,
    leaves_by: Duration,
    clock: Arc<dyn Clock>,
    /// `None` once the message has begun to leave, or was held back.
    too_old: Option<TooOld>,
    is_held_back: bool,
}

impl Fresh {
    /// Holds a message to the last moment, since boot, at which it may be handed over.
    pub(in crate::gateway) fn body(
        message: Body,
        leaves_by: Duration,
        clock: Arc<dyn Clock>,
        too_old: TooOld,
    ) -> Body {
        Body::new(Self { message, leaves_by, clock, too_old: Some(too_old), is_held_back: false })
    }
}

impl HttpBody for Fresh {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.is_held_back {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut this.message).poll_frame(task));
        // One message, whole in its first frame; what follows are trailers.
        if let (Some(Ok(data)), Some(too_old)) = (&frame, this.too_old.take())
            && data.is_data()
            && this.clock.since_boot() > this.leaves_by
        {
            this.is_held_back = true;
            let mut trailers = http::HeaderMap::new();
            return Poll::Ready(Some(match too_old().add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status),
            }));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_held_back || self.message.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_held_back { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::{BodyExt as _, Full};
    use jiff::Timestamp;

    use super::*;

    struct SetClock(Mutex<Duration>);

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn since_boot(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    const BY: Duration = Duration::from_secs(10);

    fn answer(clock: &Arc<SetClock>, told: &Arc<AtomicUsize>) -> Body {
        let told = Arc::clone(told);
        let too_old = Box::new(move || {
            told.fetch_add(1, Ordering::SeqCst);
            Status::unavailable("too old")
        });
        let message = Body::new(Full::new(Bytes::from_static(b"qualified")).map_err(|never| match never {}));
        Fresh::body(message, BY, Arc::clone(clock) as _, too_old)
    }

    async fn sent(body: Body) -> (Vec<u8>, Option<String>) {
        let collected = body.collect().await.unwrap();
        let status = collected.trailers().and_then(|trailers| trailers.get("grpc-status"));
        let status = status.map(|status| status.to_str().unwrap().to_owned());
        (collected.to_bytes().to_vec(), status)
    }

    #[tokio::test]
    async fn an_answer_leaves_up_to_its_last_moment_and_not_after_it() {
        let (clock, told) = (Arc::new(SetClock(Mutex::new(BY))), Arc::default());
        assert_eq!(sent(answer(&clock, &told)).await, (b"qualified".to_vec(), None));
        assert_eq!(told.load(Ordering::SeqCst), 0);
        // Made in time, and asked for too late.
        let waiting = answer(&clock, &told);
        *clock.0.lock().unwrap() += Duration::from_nanos(1);
        assert_eq!(sent(waiting).await, (Vec::new(), Some("14".to_owned())));
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_has_begun_to_leave_is_not_called_back() {
        let (clock, told) = (Arc::new(SetClock(Mutex::new(BY))), Arc::default());
        let mut body = answer(&clock, &told);
        let first = body.frame().await.unwrap().unwrap();
        *clock.0.lock().unwrap() += BY;
        assert_eq!(first.into_data().unwrap(), "qualified");
        assert!(body.frame().await.is_none());
        assert_eq!(told.load(Ordering::SeqCst), 0);
    }
}
