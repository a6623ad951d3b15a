//! The line in front of the registry: who may read it next when more want to than it can bear.

use std::pin::Pin;

use crate::domain::partner::PartnerId;

/// Whose reading it is.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// How urgent it is.
    pub class: Class,
    /// Who asked; `None`: a driver's own app. Partners take turns.
    pub partner: Option<&'a PartnerId>,
}

/// How urgent a reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A driver stands at a counter and shows the e-licence, or has it made.
    Presentation,
    /// A partner asks about whom it claims to know.
    Claim,
}

/// Lets readings of the registry begin. Implemented by `limits`, stood in by `cache`.
pub trait Line: Send + Sync + 'static {
    /// Asks for a place. One that is free is taken at once.
    fn enter(&self, turn: Turn<'_>) -> Entering;
}

/// A way into the line.
pub enum Entering {
    /// A place was free.
    Here(Place),
    /// The line is too long.
    Refused(Overloaded),
    /// One has to wait. Dropping it leaves the line, or gives back the place.
    Waits(Pin<Box<dyn Future<Output = Result<Place, Overloaded>> + Send>>),
}

impl Entering {
    /// Waits for the place.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn wait(self) -> Result<Place, Overloaded> {
        match self {
            Self::Here(place) => Ok(place),
            Self::Refused(overloaded) => Err(overloaded),
            Self::Waits(place) => place.await,
        }
    }
}

/// More want to read than the registry can bear: this one would wait too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wait for the registry")]
pub struct Overloaded;

/// A place at the registry; dropping it frees it.
pub struct Place(Box<dyn TakenPlace>);

/// What stands behind a [`Place`]; dropping it frees the place.
pub trait TakenPlace: Send + Sync {
    /// The registry has answered: how long that took says what it can bear.
    fn answered(&mut self);
}

impl Place {
    /// Wraps what frees the place when dropped.
    pub fn new(taken: impl TakenPlace + 'static) -> Self {
        Self(Box::new(taken))
    }

    /// Frees the place after the registry has answered. A failure, or a caller that left, tells nothing: drop it then.
    pub fn answered(mut self) {
        self.0.answered();
    }
}

/// No line at all: everybody may read at any time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLine;

impl Line for NoLine {
    fn enter(&self, _turn: Turn<'_>) -> Entering {
        Entering::Here(Place::new(Self))
    }
}

impl TakenPlace for NoLine {
    fn answered(&mut self) {}
}
