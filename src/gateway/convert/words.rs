//! The closed sets of the contract and of the domain, member by member. Codes agree, and a test keeps it so.

use crate::domain::claim::GroundKind;
use crate::domain::decision::{Advice, CriterionKind, Decision, NotCovered, Outcome, Reason, Remedy};
use crate::domain::disclosure::{Field, ProbationKind, TenureBand};
use crate::domain::licence::{
    DocumentKind, ELicencePath, Endorsement, RefusalGround, StateGround, ValidityTerm, VehicleClass,
};
use crate::domain::partner::PartnerKind;
use crate::domain::policy::AuthorisedBy;
use crate::domain::question::{CoverageEdition, Purpose, Role};
use crate::domain::vehicle::VehicleUse;
use crate::intake::fate::{QuarantineReason, RejectReason};

/// A closed set of the domain that the contract numbers in the same way.
pub(in crate::gateway) trait WireSet: Sized + Copy {
    /// Finds the member with this number in the contract; 0 and unknown numbers are none.
    fn from_wire(number: i32) -> Option<Self>;

    /// Returns the member's number in the contract.
    fn wire(self) -> i32;
}

macro_rules! same_codes {
    ($($set:ty),+ $(,)?) => {$(
        impl WireSet for $set {
            fn from_wire(number: i32) -> Option<Self> {
                u8::try_from(number).ok().and_then(Self::from_code)
            }

            fn wire(self) -> i32 {
                self.code().into()
            }
        }
    )+};
}

same_codes!(
    Advice,
    AuthorisedBy,
    CoverageEdition,
    CriterionKind,
    Decision,
    DocumentKind,
    ELicencePath,
    Endorsement,
    Field,
    GroundKind,
    NotCovered,
    Outcome,
    PartnerKind,
    ProbationKind,
    Purpose,
    QuarantineReason,
    Reason,
    RefusalGround,
    RejectReason,
    Remedy,
    Role,
    StateGround,
    TenureBand,
    ValidityTerm,
    VehicleClass,
    VehicleUse,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::proto;

    /// Compares names: `LICENCE_NOT_IN_FORCE`, `licence-not-in-force` and `Reason::LicenceNotInForce` are one word.
    fn same_word(domain: &str, wire: &str, prefix: &str) -> bool {
        let fold = |text: &str| text.replace(['-', '_'], "").replace('+', "ANDMORE").to_uppercase();
        wire.strip_prefix(prefix).map(fold) == Some(fold(domain))
    }

    macro_rules! assert_same {
        ($set:ident, $message:ident, $prefix:literal) => {
            for member in $set::ALL {
                let wire = proto::$message::try_from(member.wire()).expect("the contract has the number");
                let name = wire.as_str_name();
                let known_exception = [
                    ("TENURE_BAND_1_TO_2", "1-2"),
                    ("TENURE_BAND_3_TO_5", "3-5"),
                    ("TENURE_BAND_6_AND_MORE", "6+"),
                    ("ADVICE_UNSPECIFIED", "none"),
                ]
                .contains(&(name, member.word()));
                assert!(
                    known_exception || same_word(member.word(), name, $prefix),
                    "{} is not {}",
                    member.word(),
                    name
                );
            }
        };
    }

    #[test]
    fn every_member_has_the_same_number_and_word_in_the_contract() {
        assert_same!(Advice, Advice, "ADVICE_");
        assert_same!(AuthorisedBy, AuthorisedBy, "AUTHORISED_BY_");
        assert_same!(CoverageEdition, CoverageEdition, "COVERAGE_EDITION_");
        assert_same!(CriterionKind, CriterionKind, "CRITERION_KIND_");
        assert_same!(Decision, Decision, "DECISION_");
        assert_same!(DocumentKind, DocumentKind, "DOCUMENT_KIND_");
        assert_same!(ELicencePath, ELicencePath, "E_LICENCE_PATH_");
        assert_same!(Endorsement, LicenceEndorsement, "LICENCE_ENDORSEMENT_");
        assert_same!(Field, Field, "FIELD_");
        assert_same!(GroundKind, GroundKind, "GROUND_KIND_");
        assert_same!(NotCovered, NotCovered, "NOT_COVERED_");
        assert_same!(Outcome, Outcome, "OUTCOME_");
        assert_same!(PartnerKind, PartnerKind, "PARTNER_KIND_");
        assert_same!(ProbationKind, ProbationKind, "PROBATION_KIND_");
        assert_same!(Purpose, Purpose, "PURPOSE_");
        assert_same!(QuarantineReason, QuarantineReason, "QUARANTINE_REASON_");
        assert_same!(Reason, Reason, "REASON_");
        assert_same!(RefusalGround, ELicenceRefusal, "E_LICENCE_REFUSAL_");
        assert_same!(RejectReason, RejectReason, "REJECT_REASON_");
        assert_same!(Remedy, Remedy, "REMEDY_");
        assert_same!(Role, Role, "ROLE_");
        assert_same!(StateGround, StateGround, "STATE_GROUND_");
        assert_same!(TenureBand, TenureBand, "TENURE_BAND_");
        assert_same!(ValidityTerm, ValidityTerm, "VALIDITY_TERM_");
        assert_same!(VehicleClass, VehicleClass, "VEHICLE_CLASS_");
        assert_same!(VehicleUse, VehicleUse, "VEHICLE_USE_");
    }

    #[test]
    fn zero_and_unknown_numbers_are_no_member() {
        assert_eq!(Purpose::from_wire(0), None);
        assert_eq!(Purpose::from_wire(-1), None);
        assert_eq!(Purpose::from_wire(9999), None);
    }
}
