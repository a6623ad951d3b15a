//! Adapter: the texts of QR codes, sealed and opened, and the names of share codes.
//!
//! A QR code's text is `DG1:` and the base45 (RFC 9285) of a COSE_Encrypt0 (RFC 9052, A256GCM) around CWT claims (RFC 8392): at most
//! 180 characters of QR's alphanumeric mode, version 8 at most at level M. There is one encoding of each token, and no other is read: what
//! was opened is written again and compared.
//!
//! May know: `domain`, the ports of `verification` and `issuing`. Must not know: stores, gRPC, other adapters.

mod claims;
mod envelope;
mod keys;
mod qr;
mod randomness;
mod share_codes;
#[cfg(test)]
mod tests;

pub use keys::{KeysAlike, QrKeys};
pub use qr::{Deployment, QR_PREFIX, QR_TEXT_MAX, QrTokens};
pub use randomness::SystemRandomness;
pub use share_codes::ShareCodeKey;
