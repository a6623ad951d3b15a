//! The compact, versioned encoding of a record. Holds raw identifiers: what it makes is always sealed before it is stored.
//!
//! ```text
//! record    = version u8 (3) · secret 32 bytes · count varint · change × count · count varint (1 to 256) · stop × count
//!           | version u8 (2), without stops: as 3, up to the last change
//! stop      = partner text · purpose u8 · flags u8 (bit 0 withdrawn, bit 1 objected) · the moments of the flags that are set,
//!             counted from 1970-01-01
//! change    = head u8 · [flags u8] · [position] · [effective] · [recorded] · body
//! head      = bits 0–5 kind (63 is kept for more kinds)
//!             · bits 6–7 timing: 0 the same occasion as the change before (effective, recorded, position)
//!               · 1 effective on a civil day, recorded follows, position as before
//!               · 2 effective on a civil day, recorded and position as before · 3 flags follow
//! flags     = bit 0 effective at an instant, else on a civil day · bit 1 a position follows, else as before
//!             · bit 2 recorded as before, else a recorded time follows · the other bits are 0
//! position  = epoch varint · partition varint · seq signed (difference to the seq before, first 0)
//! effective = day signed (difference to the effective day before, first 2000-01-01)
//!             · if at an instant: moment, counted from that day's 00:00 UTC
//! recorded  = moment, counted from the effective day's 00:00 UTC
//! moment    = signed number times four, plus unit: 0 minutes, 1 seconds, 2 seconds and nanoseconds varint
//! varint    = LEB128, at most 10 bytes; signed = varint of the zigzag form
//! ```
//!
//! Version 1 is still read. Its change begins otherwise: head = bits 0–4 kind · bit 5 effective at an instant · bit 6 a
//! position follows · bit 7 recorded as before; effective and, unless bit 7 is set, recorded always follow; its moment is
//! signed seconds doubled, plus 1 if nanoseconds follow. Bodies are the same in both.
//!
//! Bodies by kind (codes are append-only; a day inside a body is the difference to the effective day, signed):
//!
//! | code | kind | body |
//! |---|---|---|
//! | 1 | issued | – |
//! | 2 | number set | document u8, plus 0x80 if packed, plus 0xc0 if packed with its birth date · 0x80: 17 digits as 8 bytes big-endian; 0xc0: (region · 2¹⁷ + birth day counted from 1800-01-01) · 1000 + sequence as 6 bytes big-endian; the check character is recomputed; else text |
//! | 3 | name set | text |
//! | 4 | birth day set | day |
//! | 5 | file number set | 12 digits as 5 bytes big-endian |
//! | 6 | authority set | text |
//! | 7, 8 | class added, removed | class u8 |
//! | 9 | age extended | class u8 · years u8 |
//! | 10, 11 | endorsement set, lifted | endorsement u8 |
//! | 12 | validity set | term u8, plus 0x80 if a last day follows, plus 0x40 if it ends on the term's anniversary · [day] |
//! | 13 | state set | letter u8, plus 0x80 if an original end follows · [day] |
//! | 14 | state lifted | letter u8 |
//! | 15 | points set | points u8 |
//! | 16, 17 | points cleared, reversed | – |
//! | 18, 19 | protection set, lifted | – |
//! | 20 | history begins | – |
//! | 21, 22 | dispute opened, settled | – |
//! | 23 | class lost by age | class u8 |
//! | 24, 25 | validity renewed, extended | as 12 |
//! | 26 | state grounded | letter u8 · ground u8 |
//! | 27 | e-licence | event u8 · after 1 (applied) and 8 (reapplied) path u8, after 4 (refused) ground u8 |
//! | 28 | erased | – |
//!
//! text = length varint · UTF-8

mod book;
mod change;
mod intake;
mod occasion;
mod record;
mod stops;
mod wire;

pub(super) use book::{
    decode_consent, decode_hold_back, decode_share_code, encode_consent, encode_hold_back, encode_share_code,
};
pub(super) use intake::{decode_state, encode_incoming, encode_state, is_storable};
#[cfg(test)]
pub(in crate::registry) use record::encode_version_1;
pub use record::{FORMAT_VERSION, decode, encode};
pub use wire::{DecodeError, Unencodable};
