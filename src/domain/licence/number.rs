//! Licence numbers (证号): the number of the identity document (Order 162 art. 12), check digit of GB 11643-1999.

use jiff::civil::Date;

use crate::domain::closed_set::closed_set;
use crate::domain::time::birthday;

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
    /// Parses a number as its document prescribes: trims nothing, reads lower-case letters as capitals.
    ///
    /// | document | form |
    /// |---|---|
    /// | resident card | 18 characters, first digit 1-8, birth date, check character |
    /// | residence permits | the same, beginning 81 or 82 (HK, Macao), 83 (Taiwan); *unverified*, `docs/domain.md` §4 |
    /// | permanent resident card | the same, beginning 9; before 1 Dec 2023: 3 letters and 12 digits |
    /// | passports, travel permits, diplomats | 5 to 20 of A-Z and 0-9 |
    ///
    /// Nobody's number begins with 0 (in free form: with six zeros): those are the test numbers.
    ///
    /// # Errors
    /// See [`NumberFault`].
    pub fn parse(document: DocumentKind, text: &str, rules: NumberRules) -> Result<Self, NumberFault> {
        let structured = match document {
            DocumentKind::ResidentId
            | DocumentKind::HkMoResidencePermit
            | DocumentKind::TwResidencePermit => true,
            DocumentKind::PermanentResidentId => text.len() != OLD_PERMANENT_RESIDENT_LENGTH,
            DocumentKind::HkMoTravelPermit
            | DocumentKind::TwTravelPermit
            | DocumentKind::Passport
            | DocumentKind::Diplomatic => false,
        };
        let canonical = text.to_ascii_uppercase();
        if structured {
            check_structured(document, canonical.as_bytes(), rules)?;
        } else if document == DocumentKind::PermanentResidentId {
            check_old_permanent_resident(canonical.as_bytes())?;
        } else {
            check_free_form(canonical.as_bytes(), rules)?;
        }
        Ok(Self(canonical.into()))
    }

    /// Returns the canonical text. Callers: the registry's pseudonym and sealed codec, `registry generate`,
    /// the evidence commitment.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the birth date an 18-character number holds; other numbers hold none.
    pub fn birth_day(&self, document: DocumentKind) -> Option<Date> {
        let holds_birth_day = matches!(
            document,
            DocumentKind::ResidentId
                | DocumentKind::HkMoResidencePermit
                | DocumentKind::TwResidencePermit
                | DocumentKind::PermanentResidentId
        );
        (holds_birth_day && self.0.len() == STRUCTURED_LENGTH).then(|| birth_day_in(self.0.as_bytes()))?
    }

    /// Says whether the number shows that its holder has not reached `years` on a day. `None`: it does not tell.
    pub fn younger_than(&self, document: DocumentKind, years: u8, day: Date) -> Option<bool> {
        let birth_day = self.birth_day(document)?;
        Some(day < birthday(birth_day, years))
    }
}

/// Length of a resident number and of everything built like one.
const STRUCTURED_LENGTH: usize = 18;

/// Length of a permanent resident number before 1 December 2023: 3 letters and 12 digits.
const OLD_PERMANENT_RESIDENT_LENGTH: usize = 15;

/// Lengths of a passport, travel permit or diplomat's number.
const FREE_FORM_LENGTHS: std::ops::RangeInclusive<usize> = 5..=20;

/// How a test number begins when its document has no structure. A passport may well begin with one zero.
const FREE_FORM_TEST_MARK: &[u8] = b"000000";

/// Earliest birth year a number may hold.
const BIRTH_YEAR_MIN: i16 = 1800;

/// Weights of GB 11643-1999: 2^(17-i) mod 11.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/// Check characters of GB 11643-1999 by weighted sum modulo 11.
const CHECK_CHARACTERS: &[u8; 11] = b"10X98765432";

/// Checks 6 digits of region, 8 of birth, 3 of sequence, and the check character.
fn check_structured(document: DocumentKind, text: &[u8], rules: NumberRules) -> Result<(), NumberFault> {
    let &[ref digits @ .., last] = text else { return Err(NumberFault::Length) };
    if text.len() != STRUCTURED_LENGTH {
        return Err(NumberFault::Length);
    }
    if !digits.iter().all(u8::is_ascii_digit) || !(last.is_ascii_digit() || last == b'X') {
        return Err(NumberFault::Character);
    }
    if check_character(digits) != last {
        return Err(NumberFault::CheckCharacter);
    }
    birth_day_in(text).ok_or(NumberFault::BirthDate)?;
    check_beginning(document, text, rules)
}

/// Checks what a structured number begins with: the province group, or the mark of a permit or a test number.
fn check_beginning(document: DocumentKind, text: &[u8], rules: NumberRules) -> Result<(), NumberFault> {
    if text[0] == b'0' {
        return if rules.accept_test_numbers { Ok(()) } else { Err(NumberFault::TestNumber) };
    }
    let fits = match document {
        DocumentKind::HkMoResidencePermit => text.starts_with(b"81") || text.starts_with(b"82"),
        DocumentKind::TwResidencePermit => text.starts_with(b"83"),
        DocumentKind::PermanentResidentId => text[0] == b'9',
        _ => text[0] != b'9',
    };
    if fits { Ok(()) } else { Err(NumberFault::Character) }
}

fn check_old_permanent_resident(text: &[u8]) -> Result<(), NumberFault> {
    let (letters, digits) = text.split_at(3);
    let fits = letters.iter().all(u8::is_ascii_uppercase) && digits.iter().all(u8::is_ascii_digit);
    if fits { Ok(()) } else { Err(NumberFault::Character) }
}

fn check_free_form(text: &[u8], rules: NumberRules) -> Result<(), NumberFault> {
    if !FREE_FORM_LENGTHS.contains(&text.len()) {
        return Err(NumberFault::Length);
    }
    if !text.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
        return Err(NumberFault::Character);
    }
    if text.starts_with(FREE_FORM_TEST_MARK) && !rules.accept_test_numbers {
        return Err(NumberFault::TestNumber);
    }
    Ok(())
}

/// Computes the check character over 17 digits (ISO 7064 MOD 11-2).
fn check_character(digits: &[u8]) -> u8 {
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    CHECK_CHARACTERS[(sum % 11) as usize]
}

/// Reads the birth date at places 7 to 14.
fn birth_day_in(text: &[u8]) -> Option<Date> {
    let digits = std::str::from_utf8(&text[6..14]).ok()?;
    let year = digits[..4].parse().ok()?;
    let day = Date::new(year, digits[4..6].parse().ok()?, digits[6..].parse().ok()?).ok()?;
    (year >= BIRTH_YEAR_MIN).then_some(day)
}

impl FileNumber {
    /// Parses 12 digits.
    ///
    /// # Errors
    /// [`NumberFault::Length`] or [`NumberFault::Character`].
    pub fn parse(text: &str) -> Result<Self, NumberFault> {
        if text.len() != FILE_NUMBER_LENGTH {
            return Err(NumberFault::Length);
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NumberFault::Character);
        }
        Ok(Self(text.into()))
    }

    /// Says whether a claimed file number is this one. Constant time in the content.
    pub fn matches(&self, claimed: &FileNumber) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(claimed.0.as_bytes()).into()
    }

    /// Returns the digits. Callers: the registry's sealed codec, the evidence commitment.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Length of a file number: 4 digits of region, 8 of sequence.
const FILE_NUMBER_LENGTH: usize = 12;

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const SANDBOX: NumberRules = NumberRules { accept_test_numbers: true };
    const PRODUCTION: NumberRules = NumberRules { accept_test_numbers: false };

    fn fault(document: DocumentKind, text: &str, rules: NumberRules) -> Option<NumberFault> {
        LicenceNumber::parse(document, text, rules).err()
    }

    #[test]
    fn the_table_of_synthetic_numbers() {
        for good in ["000000199001010018", "000000199001010026", "00000019920229001X", "000000200002290010"] {
            assert_eq!(fault(DocumentKind::ResidentId, good, SANDBOX), None, "{good}");
            assert_eq!(fault(DocumentKind::ResidentId, good, PRODUCTION), Some(NumberFault::TestNumber));
        }
        for (bad, expected) in [
            ("000000199001010013", NumberFault::CheckCharacter),
            ("000000199002300017", NumberFault::BirthDate),
            ("900000199001010010", NumberFault::Character),
            ("000000900101001", NumberFault::Length),
            ("", NumberFault::Length),
            (" 00000199001010018", NumberFault::Character),
            ("000000199001010018 ", NumberFault::Length),
            ("00000019900101001Y", NumberFault::Character),
            ("X00000199001010018", NumberFault::Character),
            ("测测测测测测", NumberFault::Character),
        ] {
            assert_eq!(fault(DocumentKind::ResidentId, bad, SANDBOX), Some(expected), "{bad}");
        }
    }

    #[test]
    fn the_published_examples_of_the_standard() {
        for example in ["11010519491231002X", "440524188001010014"] {
            assert_eq!(fault(DocumentKind::ResidentId, example, PRODUCTION), None);
        }
    }

    #[test]
    fn a_small_x_is_a_capital_x() {
        let small = LicenceNumber::parse(DocumentKind::ResidentId, "00000019920229001x", SANDBOX).unwrap();
        assert_eq!(small.expose(), "00000019920229001X");
    }

    /// Appends the right check character to 17 digits.
    fn completed(digits: &str) -> String {
        format!("{digits}{}", char::from(check_character(digits.as_bytes())))
    }

    #[test]
    fn permits_begin_as_their_document_does() {
        use DocumentKind as Kind;
        let number = |beginning: &str| completed(&format!("{beginning}000019900101001"));
        for (document, beginning, expected) in [
            (Kind::HkMoResidencePermit, "81", None),
            (Kind::HkMoResidencePermit, "82", None),
            (Kind::HkMoResidencePermit, "83", Some(NumberFault::Character)),
            (Kind::TwResidencePermit, "83", None),
            (Kind::TwResidencePermit, "81", Some(NumberFault::Character)),
            (Kind::PermanentResidentId, "91", None),
            (Kind::PermanentResidentId, "11", Some(NumberFault::Character)),
            (Kind::ResidentId, "91", Some(NumberFault::Character)),
            (Kind::TwResidencePermit, "00", Some(NumberFault::TestNumber)),
        ] {
            assert_eq!(fault(document, &number(beginning), PRODUCTION), expected, "{document} {beginning}");
        }
    }

    #[test]
    fn the_old_permanent_resident_card_has_3_letters_and_12_digits() {
        let kind = DocumentKind::PermanentResidentId;
        assert_eq!(fault(kind, "abc123456789012", PRODUCTION), None);
        assert_eq!(fault(kind, "ABCD23456789012", PRODUCTION), Some(NumberFault::Character));
        assert_eq!(fault(kind, "ABC12345678901", PRODUCTION), Some(NumberFault::Length));
        let number = LicenceNumber::parse(kind, "ABC123456789012", PRODUCTION).unwrap();
        assert_eq!(number.birth_day(kind), None);
    }

    #[test]
    fn free_forms_have_5_to_20_capitals_and_digits() {
        let kind = DocumentKind::Passport;
        assert_eq!(fault(kind, "e1234", PRODUCTION), None);
        assert_eq!(fault(kind, "E123", PRODUCTION), Some(NumberFault::Length));
        assert_eq!(fault(kind, &"9".repeat(21), PRODUCTION), Some(NumberFault::Length));
        assert_eq!(fault(kind, "E-1234567", PRODUCTION), Some(NumberFault::Character));
        assert_eq!(fault(kind, "051234567", PRODUCTION), None);
        assert_eq!(fault(kind, "000000TEST27", PRODUCTION), Some(NumberFault::TestNumber));
        assert_eq!(fault(kind, "000000TEST27", SANDBOX), None);
    }

    #[test]
    fn the_number_tells_who_is_under_age() {
        let kind = DocumentKind::ResidentId;
        let number = LicenceNumber::parse(kind, "000000199001010018", SANDBOX).unwrap();
        assert_eq!(number.birth_day(kind), Some(date(1990, 1, 1)));
        assert_eq!(number.younger_than(kind, 18, date(2007, 12, 31)), Some(true));
        assert_eq!(number.younger_than(kind, 18, date(2008, 1, 1)), Some(false));
        let passport = LicenceNumber::parse(DocumentKind::Passport, "000000TEST27", SANDBOX).unwrap();
        assert_eq!(passport.younger_than(DocumentKind::Passport, 18, date(2026, 1, 1)), None);
    }

    #[test]
    fn numbers_cannot_be_shown() {
        let number = LicenceNumber::parse(DocumentKind::ResidentId, "000000199001010018", SANDBOX).unwrap();
        assert_eq!(format!("{number:?}"), "LicenceNumber([elided])");
        assert_eq!(format!("{:?}", FileNumber::parse("000012345678").unwrap()), "FileNumber([elided])");
    }

    #[test]
    fn file_numbers_have_12_digits() {
        assert!(FileNumber::parse("000012345678").is_ok());
        assert_eq!(FileNumber::parse("00001234567"), Err(NumberFault::Length));
        assert_eq!(FileNumber::parse("00001234567A"), Err(NumberFault::Character));
    }

    proptest! {
        #[test]
        fn every_single_digit_error_and_every_swap_is_found(
            sequence in 0u32..1000, place in 0usize..17, wrong in 0u8..10,
        ) {
            let number = completed(&format!("00000019900101{sequence:03}"));
            let mut damaged = number.clone().into_bytes();
            damaged[place] = b'0' + wrong;
            let mut swapped = number.clone().into_bytes();
            swapped.swap(place, place + 1);
            for other in [damaged, swapped] {
                let other = String::from_utf8(other).unwrap();
                let accepted = fault(DocumentKind::ResidentId, &other, SANDBOX).is_none();
                prop_assert_eq!(accepted, other == number);
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,30}", kind in 1u8..=8) {
            let kind = DocumentKind::from_code(kind).unwrap();
            let _ = LicenceNumber::parse(kind, &text, SANDBOX);
            let _ = FileNumber::parse(&text);
        }
    }
}
