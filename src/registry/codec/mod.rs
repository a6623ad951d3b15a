//! The compact, versioned encoding of a record. Holds raw identifiers: what it makes is always sealed before it is stored.
//!
//! ```text
//! record    = version u8 (1) · secret 32 bytes · count varint · change × count
//! change    = head u8 · [position] · effective · [recorded] · body
//! head      = bits 0–4 kind (31 is kept for more kinds) · bit 5 effective at an instant, else on a civil day
//!             · bit 6 a position follows, else that of the change before
//!             · bit 7 recorded at the time of the change before, else a recorded time follows
//! position  = epoch varint · partition varint · seq signed (difference to the seq before, first 0)
//! effective = day signed (difference to the effective day before, first 2000-01-01)
//!             · if at an instant: moment, counted from that day's 00:00 UTC
//! recorded  = moment, counted from the effective day's 00:00 UTC
//! moment    = signed seconds doubled, plus 1 if nanoseconds follow · [nanoseconds varint]
//! varint    = LEB128, at most 10 bytes; signed = varint of the zigzag form
//! ```
//!
//! Bodies by kind (codes are append-only; a day inside a body is the difference to the effective day, signed):
//!
//! | code | kind | body |
//! |---|---|---|
//! | 1 | issued | – |
//! | 2 | number set | document u8, plus 0x80 if packed · packed: 17 digits as 8 bytes big-endian, check character recomputed; else text |
//! | 3 | name set | text |
//! | 4 | birth day set | day |
//! | 5 | file number set | 12 digits as 5 bytes big-endian |
//! | 6 | authority set | text |
//! | 7, 8 | class added, removed | class u8 |
//! | 9 | age extended | class u8 · years u8 |
//! | 10, 11 | endorsement set, lifted | endorsement u8 |
//! | 12 | validity set | term u8, plus 0x80 if a last day follows · [day] |
//! | 13 | state set | letter u8, plus 0x80 if an original end follows · [day] |
//! | 14 | state lifted | letter u8 |
//! | 15 | points set | points u8 |
//! | 16, 17 | points cleared, reversed | – |
//! | 18, 19 | protection set, lifted | – |
//! | 20 | history begins | – |
//! | 21, 22 | dispute opened, settled | – |
//!
//! text = length varint · UTF-8

mod change;
mod intake;
mod record;
mod wire;

pub(super) use intake::{decode_state, encode_incoming, encode_state, is_storable};
pub use record::{FORMAT_VERSION, decode, encode};
pub use wire::{DecodeError, Unencodable};
