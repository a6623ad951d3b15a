//! Validity terms (有效期): six years, ten years, long-term (Order 162 arts. 13, 62, 63).

use jiff::civil::Date;

use crate::domain::closed_set::closed_set;

closed_set! {
    /// How long a licence is valid.
    pub enum ValidityTerm {
        /// 六年
        SixYears = 1, "six-years";
        /// 十年
        TenYears = 2, "ten-years";
        /// 长期: no end.
        LongTerm = 3, "long-term";
    }
}

/// A validity term and its last valid day, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The term.
    pub term: ValidityTerm,
    /// Last valid day; `None` for long-term licences.
    pub last_day: Option<Date>,
}
