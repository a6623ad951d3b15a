//! Whether a claim is about a record.

use crate::domain::claim::Claim;
use crate::domain::licence::Qualification;

/// Says whether a claim fits the record its number led to, as the holder is called now. The name must match whole, a
/// file number if one is given; a protected person and an erased record fit no claim. Nothing is skipped, so that the time tells nothing.
pub fn confirm(claim: &Claim, current: &Qualification) -> bool {
    let name = current.name.as_ref().is_some_and(|name| name.matches(&claim.name));
    let file_number = match (&claim.file_number, &current.file_number) {
        (None, _) => true,
        (Some(claimed), Some(held)) => held.matches(claimed),
        (Some(_), None) => false,
    };
    name & file_number & !current.protected & !current.erased
}

/// Says whether the record a presentation leads to may be spoken of: who shows it is its subject, but a protected person and an
/// erased record answer nobody.
pub fn confirm_shown(current: &Qualification) -> bool {
    !current.protected & !current.erased
}

#[cfg(test)]
mod tests {
    use crate::domain::claim::{Claim, Ground};
    use crate::domain::licence::{
        DocumentKind, FileNumber, FullName, LicenceNumber, NumberRules, Qualification,
    };

    use super::{confirm, confirm_shown};

    fn claim(name: &str, file_number: Option<&str>) -> Claim {
        let rules = NumberRules { accept_test_numbers: true };
        Claim {
            document: DocumentKind::ResidentId,
            number: LicenceNumber::parse(DocumentKind::ResidentId, "000000199001010018", rules).unwrap(),
            name: FullName::parse(name).unwrap(),
            file_number: file_number.map(|number| FileNumber::parse(number).unwrap()),
            ground: Ground::LegalDuty,
        }
    }

    fn held() -> Qualification {
        Qualification {
            name: FullName::parse("测试甲").ok(),
            file_number: FileNumber::parse("000012345678").ok(),
            ..Qualification::default()
        }
    }

    #[test]
    fn name_and_file_number_must_fit() {
        assert!(confirm(&claim("测试甲", None), &held()));
        assert!(confirm(&claim("测试甲", Some("000012345678")), &held()));
        assert!(!confirm(&claim("测试乙", None), &held()));
        assert!(!confirm(&claim("测试甲", Some("000012345679")), &held()));
        assert!(!confirm(
            &claim("测试甲", Some("000012345678")),
            &Qualification { file_number: None, ..held() }
        ));
        assert!(!confirm(&claim("测试甲", None), &Qualification { name: None, ..held() }));
    }

    #[test]
    fn a_presentation_confirms_but_for_protected_and_erased_records() {
        assert!(confirm_shown(&held()));
        assert!(!confirm_shown(&Qualification { protected: true, ..held() }));
        assert!(!confirm_shown(&Qualification { erased: true, ..held() }));
    }

    #[test]
    fn an_erased_record_fits_no_claim() {
        assert!(!confirm(&claim("测试甲", None), &Qualification { erased: true, ..held() }));
    }

    #[test]
    fn a_protected_person_fits_no_claim() {
        assert!(!confirm(&claim("测试甲", None), &Qualification { protected: true, ..held() }));
    }
}
