//! Licence numbers (证号): the number of the identity document (Order 162 art. 12), check digit of GB 11643-1999.

use crate::domain::closed_set::closed_set;

closed_set! {
    /// The document a licence number comes from (Order 162 art. 109(1)).
    pub enum DocumentKind {
        /// 居民身份证
        ResidentId = 1, "resident-id";
        /// 港澳居民居住证
        HkMoResidencePermit = 2, "hk-mo-residence-permit";
        /// 港澳居民来往内地通行证
        HkMoTravelPermit = 3, "hk-mo-travel-permit";
        /// 台湾居民居住证
        TwResidencePermit = 4, "tw-residence-permit";
        /// 台湾居民来往大陆通行证
        TwTravelPermit = 5, "tw-travel-permit";
        /// 护照
        Passport = 6, "passport";
        /// 外国人永久居留身份证
        PermanentResidentId = 7, "permanent-resident-id";
        /// 外交部核发的身份证明
        Diplomatic = 8, "diplomatic";
    }
}

/// A licence number in canonical form. It cannot be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LicenceNumber(Box<str>);

/// A file number (档案编号): 12 digits. It cannot be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct FileNumber(Box<str>);

/// Which numbers are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberRules {
    /// Accept numbers that cannot be a real person (first digit 0): sandbox and demo only.
    pub accept_test_numbers: bool,
}

/// Why a number was not accepted. Never holds the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberFault {
    /// Not as many characters as the document has.
    #[error("must have the length of the document's number")]
    Length,
    /// A character the document's number cannot have.
    #[error("holds a character this document's number cannot have")]
    Character,
    /// The check character does not fit (GB 11643-1999, ISO 7064 MOD 11-2).
    #[error("check character does not fit")]
    CheckCharacter,
    /// The birth date inside is no date, or lies in the future.
    #[error("holds an impossible birth date")]
    BirthDate,
    /// A test number outside sandbox and demo.
    #[error("is a test number; only a sandbox accepts those")]
    TestNumber,
}

impl std::fmt::Debug for LicenceNumber {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("LicenceNumber([elided])")
    }
}

impl std::fmt::Debug for FileNumber {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("FileNumber([elided])")
    }
}

impl LicenceNumber {
    /// Parses a number as its document prescribes: trims nothing, reads 'x' as 'X'.
    ///
    /// # Errors
    /// See [`NumberFault`].
    pub fn parse(_document: DocumentKind, _text: &str, _rules: NumberRules) -> Result<Self, NumberFault> {
        Err(NumberFault::Length)
    }

    /// Returns the canonical text. Callers: the registry's pseudonym and sealed codec, `registry generate`,
    /// the evidence commitment.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the birth date a resident number holds.
    pub fn birth_day(&self, _document: DocumentKind) -> Option<jiff::civil::Date> {
        None
    }
}

impl FileNumber {
    /// Parses 12 digits.
    ///
    /// # Errors
    /// [`NumberFault::Length`] or [`NumberFault::Character`].
    pub fn parse(_text: &str) -> Result<Self, NumberFault> {
        Err(NumberFault::Length)
    }

    /// Returns the digits. Callers: the registry's sealed codec, the evidence commitment.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
