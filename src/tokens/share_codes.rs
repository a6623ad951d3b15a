//! The names of share codes.

use crate::domain::presentation::{PresentationId, PresentationKind, ShareCode};
use crate::hashing::{MacKey, first_half};
use crate::verification::ports::ShareCodeIds;

/// Names share codes. The key outlives every code: with another one, codes that are out lead nowhere.
#[derive(Debug)]
pub struct ShareCodeKey(MacKey);

impl ShareCodeKey {
    /// Prepares a key of 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(MacKey::new(secret))
    }
}

impl ShareCodeIds for ShareCodeKey {
    fn id(&self, code: &ShareCode) -> PresentationId {
        let mac = self.0.mac(&[b"drivegate share code 1", code.expose()]);
        PresentationId::new(PresentationKind::ShareCode, first_half(&mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_codes_alone_and_useless_without_the_key() {
        let [one, other] = [1, 2].map(|fill| ShareCodeKey::new(&[fill; 32]));
        let [code, next] = [1, 2].map(|fill| ShareCode::generate(&[fill; 13]));
        assert_eq!(one.id(&code), one.id(&ShareCode::parse(&code.to_text().to_lowercase()).unwrap()));
        assert_eq!(one.id(&code).kind(), PresentationKind::ShareCode);
        assert_ne!(one.id(&code), one.id(&next));
        assert_ne!(one.id(&code), other.id(&code));
    }
}
