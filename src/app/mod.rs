//! The one place where everything is wired; start-up and drain.
//!
//! May know: every room. Must not know: nobody's inside.

mod clock;

pub use clock::SystemClock;
