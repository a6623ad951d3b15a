//! The index of look-ups in a file of its own beside the registry's: in the same folder, of the same engine.
//!
//! Its own, because it belongs to the logs and not to the registry: it is written many times a second without a sync, must not
//! make the registry's changes wait for the engine's one writer, and is rebuilt rather than backed up.
//!
//! A random insert for each look-up would cost more than the answer it is about. Therefore it is a log-structured merge tree
//! in miniature: a batch becomes a **run**, sorted once for each way of finding and written as a few **chunks**; sixteen runs
//! of a size become one of the next. A batch pays for a bounded piece of the merging that is due.
//!
//! ```text
//! look-up-logs    origin -> catalogue: number, cursor, runs, merges under way                        (`catalogue`)
//! look-up-chunks  log u32 · run u64 · way u8 · first row (32) -> up to 250 rows of 32 bytes           (`chunks`)
//! look-up-gone    (log, run) -> nothing: chunks that no catalogue names, to be swept                  (`upkeep`)
//! row             key (16) · moment, microseconds, sign flipped (8) · entry (8)                       (`row`)
//! ```
//!
//! Rows and cursor are written in one transaction, most of them not synced: a crash takes both back, and the feeder begins
//! where the cursor is. Nothing of a look-up is in the clear but random subject ids, keyed pseudonyms and keyed digests.

mod catalogue;
mod chunks;
mod row;
mod search;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;

pub use store::{EmbeddedLookUps, LOOK_UPS_FILE};
