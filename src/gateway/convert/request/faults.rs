//! Collects what is wrong with a message while the rest of it is still read.

use jiff::Timestamp;

use crate::gateway::convert::words::WireSet;

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct FieldFault {
    /// Path in the message, as in `claim.licence_number`.
    pub(in crate::gateway) path: &'static str,
    /// The rule it breaks.
    pub(in crate::gateway) rule: String,
}

/// The faults found so far.
#[derive(Default)]
pub(in crate::gateway::convert) struct Faults(Vec<FieldFault>);

impl Faults {
    /// Returns the faults, in the order they were found.
    pub(in crate::gateway::convert) fn into_list(self) -> Vec<FieldFault> {
        self.0
    }

    /// Says whether nothing was found.
    pub(in crate::gateway::convert) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::gateway::convert) fn demand(&mut self, holds: bool, path: &'static str, rule: &str) {
        if !holds {
            self.0.push(FieldFault { path, rule: rule.to_owned() });
        }
    }

    pub(in crate::gateway::convert) fn refuse<T>(&mut self, path: &'static str, rule: &str) -> Option<T> {
        self.demand(false, path, rule);
        None
    }

    pub(in crate::gateway::convert) fn parsed<T>(
        &mut self,
        path: &'static str,
        parsed: Result<T, impl std::fmt::Display>,
    ) -> Option<T> {
        parsed.map_err(|fault| self.demand(false, path, &fault.to_string())).ok()
    }

    pub(in crate::gateway::convert) fn member<T: WireSet>(
        &mut self,
        path: &'static str,
        number: i32,
    ) -> Option<T> {
        let member = T::from_wire(number);
        self.demand(member.is_some(), path, "must be a known value, and set");
        member
    }

    pub(in crate::gateway::convert) fn optional_member<T: WireSet>(
        &mut self,
        path: &'static str,
        number: i32,
    ) -> Option<T> {
        if number == 0 { None } else { self.member(path, number) }
    }

    pub(in crate::gateway::convert) fn months(&mut self, path: &'static str, months: u32) -> Option<u16> {
        match u16::try_from(months).ok().filter(|months| *months <= 1200) {
            Some(0) => None,
            Some(months) => Some(months),
            None => self.refuse(path, "must be at most 1200"),
        }
    }

    pub(in crate::gateway::convert) fn moment(
        &mut self,
        path: &'static str,
        moment: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        if moment.is_none() {
            return self.refuse(path, "is required");
        }
        self.optional_moment(path, moment)
    }

    pub(in crate::gateway::convert) fn optional_moment(
        &mut self,
        path: &'static str,
        moment: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        let moment = moment?;
        let well_formed = (0..1_000_000_000).contains(&moment.nanos);
        let parsed = Timestamp::new(moment.seconds, moment.nanos).ok().filter(|_| well_formed);
        self.demand(parsed.is_some(), path, "must be a moment of the years 1 to 9999");
        parsed
    }

    pub(in crate::gateway::convert) fn printable(
        &mut self,
        path: &'static str,
        text: &str,
        length: std::ops::RangeInclusive<usize>,
    ) {
        let permitted = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !permitted {
            let rule = format!("must have {} to {} visible ASCII characters", length.start(), length.end());
            self.0.push(FieldFault { path, rule });
        }
    }
}
