//! What a partner keeps of an answer: a file that proves, without us, what was answered and that it was on record.
//!
//! May know: [`super::entry`], [`super::note`], `domain`'s words. Must not know: files, journals, the network.
//!
//! Read in this order: `format` (the file, C2SP `tlog-proof`), `openings` (what it holds beyond the proof), `verify` (offline),
//! `witness` (others who saw the log), `value` (from what a person types to what a leaf commits to).

mod format;
mod openings;
#[cfg(test)]
mod tests;
mod value;
mod verify;
mod witness;

pub use format::{RECEIPT_BYTES_MAX, Receipt, ReceiptFault};
pub use openings::LeafOpening;
pub use value::{ValueFault, value_of};
pub use verify::{Opened, Trust, Verified, VerifyFault};
pub use witness::{Cosignature, WitnessKey};
