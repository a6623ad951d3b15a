//! Use case: the wallet issues presentations, takes them back, and speaks for the driver about consents.
//!
//! May know: `domain`, the ports of `verification`. Must not know: gRPC, stores, the adapters that implement its ports.

mod agreement;
mod caller;
mod consents;
#[cfg(test)]
mod consents_tests;
mod holder;
mod issue;
mod list_tokens;
pub mod ports;
#[cfg(test)]
pub(crate) mod testing;

pub use agreement::{Agreed, AgreementFault, Told};
pub use caller::WalletCaller;
pub use consents::{ConsentPage, Consents, NotDone, Objection, PAGE_MAX, Page};
pub use holder::{Holders, KnownHolder, NoHolder};
pub use issue::{IssuedQr, IssuedShareCode, Issuing, NotIssued, NotRevoked, QrRequest, ShareCodeRequest};
pub use list_tokens::{ListTokens, TokenScope};
