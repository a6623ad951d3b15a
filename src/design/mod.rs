//! Decisions and their reasons, as doc pages that ship with the code.
//!
//! May know: nobody. Must not know: code.
//!
//! - [`life_of_a_call`]: what happens to one call, in order, and why in that order
//! - [`shape_of_the_process`]: threads, runtimes, and who wakes whom
//! - [`freshness`]: why an old "valid" cannot leave
//! - [`intake`]: how the authority's changes come in, and why a stuck one leaves no "valid" behind
//! - [`book`]: how a use is spent once, and where what drivers showed and stopped lies
//! - [`evidence`]: why an answer cannot leave unrecorded
//! - [`overload`]: what happens when more is asked than can be answered
//! - [`retries`]: why a retry costs nothing, tells nothing new, and is still judged anew
//! - [`fishing`]: what a partner that guesses runs into, and why it tells nothing
//! - [`privacy`]: what can never be shown, and what makes it so
//! - [`choices`]: where this gateway differs from what one would expect, and why

#[doc = include_str!("book.md")]
pub mod book {}
#[doc = include_str!("choices.md")]
pub mod choices {}
#[doc = include_str!("evidence.md")]
pub mod evidence {}
#[doc = include_str!("fishing.md")]
pub mod fishing {}
#[doc = include_str!("freshness.md")]
pub mod freshness {}
#[doc = include_str!("intake.md")]
pub mod intake {}
#[doc = include_str!("life_of_a_call.md")]
pub mod life_of_a_call {}
#[doc = include_str!("overload.md")]
pub mod overload {}
#[doc = include_str!("privacy.md")]
pub mod privacy {}
#[doc = include_str!("retries.md")]
pub mod retries {}
#[doc = include_str!("shape_of_the_process.md")]
pub mod shape_of_the_process {}
