//! Decisions and their reasons, as doc pages that ship with the code.
//!
//! May know: nobody. Must not know: code.
