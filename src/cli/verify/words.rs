//! The contract's closed words as a person types and reads them: `insurance-claim` for `PURPOSE_INSURANCE_CLAIM`.

use crate::gateway::proto;

/// A closed set of the contract.
pub trait Word: Copy + TryFrom<i32> {
    /// What every name of the set begins with.
    const PREFIX: &'static str;

    /// Returns the name in the contract.
    fn contract_name(self) -> &'static str;

    /// Finds a name of the contract.
    fn from_contract_name(name: &str) -> Option<Self>;

    /// Returns the name without its prefix: `NOT_QUALIFIED`.
    fn short(self) -> &'static str {
        let name = self.contract_name();
        name.strip_prefix(Self::PREFIX).unwrap_or(name)
    }
}

macro_rules! words {
    ($($set:ident $prefix:literal),* $(,)?) => {$(
        impl Word for proto::$set {
            const PREFIX: &'static str = $prefix;

            fn contract_name(self) -> &'static str {
                self.as_str_name()
            }

            fn from_contract_name(name: &str) -> Option<Self> {
                Self::from_str_name(name)
            }
        }
    )*};
}

words! {
    Advice "ADVICE_",
    AuthorisedBy "AUTHORISED_BY_",
    CoverageEdition "COVERAGE_EDITION_",
    CriterionKind "CRITERION_KIND_",
    Decision "DECISION_",
    Display "DISPLAY_",
    DocumentKind "DOCUMENT_KIND_",
    Environment "ENVIRONMENT_",
    ErrorReason "ERROR_REASON_",
    Field "FIELD_",
    GroundKind "GROUND_KIND_",
    LimitKind "LIMIT_KIND_",
    LimitMode "LIMIT_MODE_",
    NotCovered "NOT_COVERED_",
    Outcome "OUTCOME_",
    PartnerKind "PARTNER_KIND_",
    ProbationKind "PROBATION_KIND_",
    Purpose "PURPOSE_",
    Reason "REASON_",
    Remedy "REMEDY_",
    Role "ROLE_",
    Source "SOURCE_",
    TenureBand "TENURE_BAND_",
    VehicleClass "VEHICLE_CLASS_",
    VehicleUse "VEHICLE_USE_",
}

/// How far the sets are searched for their names; every set of the contract is smaller.
const NUMBERS: std::ops::Range<i32> = 1..64;

/// Returns the short name of a number on the wire. A number this build does not know is shown as such, not hidden.
pub fn short<W: Word>(number: i32) -> String {
    W::try_from(number).map_or_else(|_| format!("{}{number}", W::PREFIX), |word| word.short().to_owned())
}

/// Returns the name as it is typed: `resident-id`.
pub fn typed<W: Word>(word: W) -> String {
    word.short().to_ascii_lowercase().replace('_', "-")
}

/// Reads a name as it is typed, in any case, with `-` or `_`.
///
/// # Errors
/// Lists what is accepted.
pub fn read<W: Word>(text: &str) -> Result<W, String> {
    let name = format!("{}{}", W::PREFIX, text.trim().to_ascii_uppercase().replace('-', "_"));
    let unspecified = W::try_from(0).ok().map(Word::contract_name);
    W::from_contract_name(&name)
        .filter(|word| Some(word.contract_name()) != unspecified)
        .ok_or_else(|| format!("expected one of: {}", accepted::<W>().join(", ")))
}

/// Returns every name that can be typed.
pub fn accepted<W: Word>() -> Vec<String> {
    NUMBERS.filter_map(|number| W::try_from(number).ok()).map(typed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_shown() {
        assert_eq!(read::<proto::DocumentKind>("resident-id"), Ok(proto::DocumentKind::ResidentId));
        assert_eq!(read::<proto::VehicleClass>("c1"), Ok(proto::VehicleClass::C1));
        assert_eq!(
            read::<proto::CoverageEdition>("commercial_2020"),
            Ok(proto::CoverageEdition::Commercial2020)
        );
        assert_eq!(typed(proto::Purpose::InsuranceClaim), "insurance-claim");
        assert_eq!(short::<proto::Decision>(2), "NOT_QUALIFIED");
        assert_eq!(short::<proto::Decision>(63), "DECISION_63");
    }

    #[test]
    fn the_unset_word_and_unknown_words_are_not_accepted_and_the_error_lists_what_is() {
        let accepted = "expected one of: consent, contract, legal-duty";
        assert_eq!(read::<proto::GroundKind>("unspecified"), Err(accepted.to_owned()));
        assert_eq!(read::<proto::GroundKind>("curiosity"), Err(accepted.to_owned()));
    }
}
