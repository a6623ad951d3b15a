//! The table `[claims]` of a contract: what is not said there is as usual for the kind.

use serde::Deserialize;
use toml::Spanned;

use super::ContractFault;
use super::place::Place;
use crate::domain::partner::{ClaimTerms, PartnerKind, SUBJECTS_MAX, Threshold};

/// The largest threshold: more than a partner can ask in a day without being known for it.
const UNCONFIRMED_MAX: u32 = 1_000_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimsTable {
    subjects_max: Option<Spanned<u32>>,
    window_hours: Option<Spanned<u8>>,
    slow_unconfirmed: Option<Spanned<u32>>,
    slow_percent: Option<Spanned<u8>>,
    suspend_unconfirmed: Option<Spanned<u32>>,
    suspend_percent: Option<Spanned<u8>>,
}

impl ClaimsTable {
    /// Completes and checks the terms.
    pub(super) fn into_terms(self, kind: PartnerKind, place: Place<'_>) -> Result<ClaimTerms, ContractFault> {
        let usual = ClaimTerms::usual(kind);
        let subjects = (1, SUBJECTS_MAX);
        let unconfirmed = (1, UNCONFIRMED_MAX);
        let terms = ClaimTerms {
            subjects_max: within(self.subjects_max, "subjects_max", usual.subjects_max, subjects, place)?,
            window_hours: window(self.window_hours.as_ref(), usual.window_hours, place)?,
            slow: Threshold {
                unconfirmed: within(
                    self.slow_unconfirmed,
                    "slow_unconfirmed",
                    usual.slow.unconfirmed,
                    unconfirmed,
                    place,
                )?,
                percent: within(self.slow_percent, "slow_percent", usual.slow.percent, (1, 100), place)?,
            },
            suspend: Threshold {
                unconfirmed: within(
                    self.suspend_unconfirmed.clone(),
                    "suspend_unconfirmed",
                    usual.suspend.unconfirmed,
                    unconfirmed,
                    place,
                )?,
                percent: within(
                    self.suspend_percent,
                    "suspend_percent",
                    usual.suspend.percent,
                    (1, 100),
                    place,
                )?,
            },
        };
        if terms.suspend.unconfirmed < terms.slow.unconfirmed {
            let at = self.suspend_unconfirmed.map_or(0..0, |value| value.span());
            let what = "lies below slow_unconfirmed: claims slow down before they are suspended";
            return Err(place.fault_at(at, "claims.suspend_unconfirmed", what));
        }
        Ok(terms)
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    given: Option<Spanned<T>>,
    key: &str,
    usual: T,
    (least, most): (T, T),
    place: Place<'_>,
) -> Result<T, ContractFault> {
    let Some(given) = given else { return Ok(usual) };
    let value = *given.get_ref();
    if value < least || value > most {
        let what = format!("write a number from {least} to {most}");
        return Err(place.fault(&given, &format!("claims.{key}"), what));
    }
    Ok(value)
}

fn window(given: Option<&Spanned<u8>>, usual: u8, place: Place<'_>) -> Result<u8, ContractFault> {
    let Some(given) = given else { return Ok(usual) };
    match *given.get_ref() {
        hours @ (1 | 2 | 3 | 4 | 6 | 8 | 12 | 24) => Ok(hours),
        _ => {
            let what = "write 1, 2, 3, 4, 6, 8, 12 or 24: windows begin at midnight in China";
            Err(place.fault(given, "claims.window_hours", what))
        }
    }
}
