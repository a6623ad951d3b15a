//! Who speaks for the driver.

use crate::domain::partner::{PartnerId, Standing};

/// Which wallet asks, and its standing, read again right before something leaves.
#[derive(Clone, Copy)]
pub struct WalletCaller<'a> {
    /// Who.
    pub wallet: &'a PartnerId,
    /// Reads the standing now.
    pub standing: &'a (dyn Fn() -> Standing + Sync),
}
