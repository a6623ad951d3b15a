//! QR codes of e-licences: drawn in a terminal or as PNG, and read from a PNG.

mod draw;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use draw::{Ink, QrDrawing};
pub(crate) use read::text_in;
