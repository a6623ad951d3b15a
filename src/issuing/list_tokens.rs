//! Tokens with which a list or stream goes on: what they say is readable, and nobody but this deployment can make one.

use crate::domain::partner::PartnerId;
use crate::domain::subject::SubjectId;
use crate::hashing::{MacKey, first_half};

/// The layout of today.
const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;

/// Makes and opens tokens under a key that all replicas share.
#[derive(Clone, Debug)]
pub struct ListTokens(MacKey);

/// What a token is for: it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct TokenScope<'a> {
    /// Which list. Those with a subject and those without have different names.
    pub list: &'static str,
    /// Whose token.
    pub wallet: &'a PartnerId,
    /// Whose list; `None`: of no one driver.
    pub subject: Option<&'a SubjectId>,
}

impl ListTokens {
    /// Uses a key: 32 random bytes of the deployment's own.
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// Makes the token that says where to go on.
    pub fn make(&self, scope: TokenScope<'_>, place: &[u8]) -> Vec<u8> {
        [&[VERSION][..], place, &self.mac(scope, place)].concat()
    }

    /// Opens a token; `None`: it is none of ours, or of another list, wallet or driver, or was changed.
    pub fn open<'a>(&self, scope: TokenScope<'_>, token: &'a [u8]) -> Option<&'a [u8]> {
        let (version, rest) = token.split_first()?;
        let (place, mac) = rest.split_at_checked(rest.len().checked_sub(MAC_BYTES)?)?;
        let is_ours = aws_lc_rs::constant_time::verify_slices_are_equal(&self.mac(scope, place), mac).is_ok();
        (*version == VERSION && is_ours).then_some(place)
    }

    fn mac(&self, scope: TokenScope<'_>, place: &[u8]) -> [u8; MAC_BYTES] {
        let subject: &[u8] = scope.subject.map_or(&[], |subject| subject.as_bytes());
        let wallet = scope.wallet.as_str().as_bytes();
        // Neither name holds a line break, and the list's says whether 16 bytes of a subject follow.
        first_half(&self.0.mac(&[scope.list.as_bytes(), b"\n", wallet, b"\n", subject, place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_wallet_list_and_driver_alone() {
        let tokens = ListTokens::new(MacKey::new(&[7; 32]));
        let [wallet, other]: [PartnerId; 2] = ["wallet", "other"].map(|id| id.parse().unwrap());
        let [one, two] = [1, 2].map(|fill| SubjectId::from_bytes([fill; 16]));
        let scope = TokenScope { list: "accesses", wallet: &wallet, subject: Some(&one) };
        let token = tokens.make(scope, b"place");
        assert_eq!(tokens.open(scope, &token), Some(&b"place"[..]));
        let elsewhere = [
            TokenScope { list: "consents", ..scope },
            TokenScope { wallet: &other, ..scope },
            TokenScope { subject: Some(&two), ..scope },
        ];
        assert!(elsewhere.into_iter().all(|scope| tokens.open(scope, &token).is_none()));
        assert!(ListTokens::new(MacKey::new(&[8; 32])).open(scope, &token).is_none());
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert!(tokens.open(scope, &changed).is_none(), "byte {at}");
            assert!(tokens.open(scope, &token[..at]).is_none(), "cut at {at}");
        }
    }
}
