//! Who hears of requests with an id.

use crate::verification::ports::TakenUp;

/// What a request with an id was taken up as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeUp {
    /// New.
    First,
    /// Given the kept answer.
    Answered,
    /// Answered before, to be answered anew.
    Recorded,
    /// Answered too long ago.
    Spent,
    /// Its id belongs to another request.
    OtherContent,
    /// Its twin took too long.
    Late,
}

impl TakeUp {
    pub(super) fn of(taken: &TakenUp) -> Self {
        match taken {
            TakenUp::First(_) => Self::First,
            TakenUp::Answered(_) => Self::Answered,
            TakenUp::Recorded { .. } => Self::Recorded,
            TakenUp::Spent(_) => Self::Spent,
            TakenUp::OtherContent => Self::OtherContent,
            TakenUp::Late => Self::Late,
        }
    }
}

/// Hears of every request with an id.
pub trait RetryObserver: Send + Sync + 'static {
    /// A request was taken up as this.
    fn taken_up(&self, as_what: TakeUp);

    /// A twin of a request under way begins to wait.
    fn twin_waits(&self);

    /// Other replicas could not be asked: the request is answered here as if they knew nothing.
    fn others_not_asked(&self);

    /// What is kept cannot be opened or read. Should never happen.
    fn unreadable(&self);
}

/// Hears nothing.
pub struct Unobserved;

impl RetryObserver for Unobserved {
    fn taken_up(&self, _as_what: TakeUp) {}

    fn twin_waits(&self) {}

    fn others_not_asked(&self) {}

    fn unreadable(&self) {}
}
