//! How many people a partner may claim to know, and how many of its claims may come to nothing: what fishing runs into.

use super::PartnerKind;

/// The most subjects a contract may grant within one window: what the gateway holds exactly, in some three mebibytes a partner.
pub const SUBJECTS_MAX: u32 = 100_000;

/// The bounds on a partner's claims. Presentations know none of them: who shows the e-licence is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimTerms {
    /// Different numbers claimed within one window: 1 to [`SUBJECTS_MAX`].
    pub subjects_max: u32,
    /// The window, in hours: a divisor of 24. Windows follow one another from midnight in China.
    pub window_hours: u8,
    /// From here on every claim waits before anything is looked up.
    pub slow: Threshold,
    /// Here claims are suspended, until an operator lifts it.
    pub suspend: Threshold,
}

/// How many unconfirmed claims within a window are too many: both bounds must be reached.
///
/// The share is of different numbers claimed, not of claims: whoever asks about one known driver again and again does not dilute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Unconfirmed claims: 1 and more.
    pub unconfirmed: u32,
    /// Per hundred different numbers claimed: 1 to 100.
    pub percent: u8,
}

impl Threshold {
    /// Says whether so many unconfirmed claims over so many different numbers reach both bounds.
    pub const fn is_reached(self, unconfirmed: u64, subjects: u64) -> bool {
        unconfirmed >= self.unconfirmed as u64
            && unconfirmed.saturating_mul(100) >= subjects.saturating_mul(self.percent as u64)
    }
}

/// A desk at which one number in five is mistyped or not in the registry gets slow after 20, and no honest one is worse.
const SLOW: Threshold = Threshold { unconfirmed: 20, percent: 20 };

/// A desk with one claim in twelve unconfirmed has about 21 by the time 250 different numbers make 100 of them 40 per cent: to have
/// 100 then is a matter of once in 10³⁰ windows. A guess at a name is right far less often than six times in ten.
const SUSPEND: Threshold = Threshold { unconfirmed: 100, percent: 40 };

impl ClaimTerms {
    /// Returns the terms a contract of this kind has unless it says otherwise: a busy organisation's day of different drivers.
    pub const fn usual(kind: PartnerKind) -> Self {
        let subjects_max = match kind {
            PartnerKind::Insurer => 20_000,
            PartnerKind::Rental | PartnerKind::Transport => 5_000,
            PartnerKind::Recruiter => 2_000,
            PartnerKind::Enforcement => SUBJECTS_MAX,
            // They claim nobody.
            PartnerKind::Wallet | PartnerKind::Authority => 1_000,
        };
        Self { subjects_max, window_hours: 24, slow: SLOW, suspend: SUSPEND }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_bounds_must_be_reached() {
        for (unconfirmed, subjects, is_reached) in [
            (99, 99, false),
            (100, 250, true),
            (100, 251, false),
            (101, 252, true),
            (100, 0, true),
            (0, 0, false),
        ] {
            assert_eq!(SUSPEND.is_reached(unconfirmed, subjects), is_reached, "{unconfirmed} of {subjects}");
        }
    }

    #[test]
    fn every_kind_s_usual_terms_are_within_what_a_contract_may_say() {
        for kind in PartnerKind::ALL {
            let terms = ClaimTerms::usual(*kind);
            assert!((1..=SUBJECTS_MAX).contains(&terms.subjects_max) && 24 % terms.window_hours == 0);
            assert!(terms.slow.unconfirmed <= terms.suspend.unconfirmed);
            assert!(terms.slow.percent <= terms.suspend.percent && terms.suspend.percent <= 100);
        }
    }

    proptest! {
        /// Goal: an honest desk never trips. Method: days of a desk at which one claim in twelve comes to nothing, each unconfirmed one tried
        /// once more with another number, as for a mistyped one; the rule is asked after every claim.
        #[test]
        fn a_desk_with_typing_errors_never_trips(seed: u64, claims in 1_u64..3_000) {
            let (mut state, mut unconfirmed, mut subjects) = (seed, 0, 0);
            for _ in 0..claims {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                subjects += 1;
                if (state >> 33) % 12 == 0 {
                    unconfirmed += 1;
                    subjects += 1;
                }
                prop_assert!(!SUSPEND.is_reached(unconfirmed, subjects), "{unconfirmed} of {subjects}");
            }
        }

        #[test]
        fn a_guesser_trips_at_the_first_bound(right_in in 3_u64..1_000) {
            let mut unconfirmed = 0;
            for tried in 1..=200 {
                unconfirmed += u64::from(tried % right_in != 0);
                if SUSPEND.is_reached(unconfirmed, tried) {
                    prop_assert_eq!(unconfirmed, 100);
                    return Ok(());
                }
            }
            prop_assert!(false, "it never tripped");
        }
    }
}
