//! What a driver stopped: consents withdrawn, objections made. It stands on the record, so that every cache learns of it as of any change.

use jiff::Timestamp;

use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;

/// The most stops a record holds: one for each partner and purpose.
pub const STOPS_MAX: usize = 256;

/// One stop: consents given to this partner for this purpose up to this moment count no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Against whom.
    pub partner: PartnerId,
    /// Against what.
    pub purpose: Purpose,
    /// When the driver last withdrew a consent; `None`: objected alone.
    pub withdrawn_at: Option<Timestamp>,
    /// When the driver objected first.
    pub objected_at: Option<Timestamp>,
}

impl Stop {
    /// Returns up to which moment consents given before count no more.
    pub fn until(&self) -> Option<Timestamp> {
        self.withdrawn_at.max(self.objected_at)
    }
}

/// Every stop of a record, one for each partner and purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops(Vec<Stop>);

/// A record holds as many stops as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record holds {STOPS_MAX} stops already")]
pub struct StopsFull;

impl Stops {
    /// Says whether a consent given at a moment was stopped since.
    pub fn stop(&self, partner: &PartnerId, purpose: Purpose, obtained_at: Timestamp) -> bool {
        self.of(partner, purpose).and_then(Stop::until).is_some_and(|until| obtained_at <= until)
    }

    /// Returns the stop for a partner and purpose.
    pub fn of(&self, partner: &PartnerId, purpose: Purpose) -> Option<&Stop> {
        self.0.iter().find(|stop| stop.purpose == purpose && stop.partner == *partner)
    }

    /// Notes a withdrawal: the latest counts.
    ///
    /// # Errors
    /// [`StopsFull`].
    pub fn withdraw(&mut self, partner: PartnerId, purpose: Purpose, at: Timestamp) -> Result<(), StopsFull> {
        let stop = self.entry(partner, purpose)?;
        stop.withdrawn_at = stop.withdrawn_at.max(Some(at));
        Ok(())
    }

    /// Notes an objection and returns since when: the first counts.
    ///
    /// # Errors
    /// [`StopsFull`].
    pub fn object(
        &mut self,
        partner: PartnerId,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<Timestamp, StopsFull> {
        Ok(*self.entry(partner, purpose)?.objected_at.get_or_insert(at))
    }

    /// Iterates over the stops, in the order in which they first came.
    pub fn iter(&self) -> impl Iterator<Item = &Stop> {
        self.0.iter()
    }

    /// Says whether nothing was stopped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn entry(&mut self, partner: PartnerId, purpose: Purpose) -> Result<&mut Stop, StopsFull> {
        let known = self.0.iter().position(|stop| stop.purpose == purpose && stop.partner == partner);
        let index = match known {
            Some(index) => index,
            None if self.0.len() >= STOPS_MAX => return Err(StopsFull),
            None => {
                self.0.push(Stop { partner, purpose, withdrawn_at: None, objected_at: None });
                self.0.len() - 1
            }
        };
        self.0.get_mut(index).ok_or(StopsFull)
    }
}

impl FromIterator<Stop> for Stops {
    fn from_iter<I: IntoIterator<Item = Stop>>(stops: I) -> Self {
        Self(stops.into_iter().take(STOPS_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_stop_ends_what_was_given_before_it_and_nothing_else() {
        let partner: PartnerId = "rental-demo".parse().unwrap();
        let mut stops = Stops::default();
        assert!(!stops.stop(&partner, Purpose::Rental, at(5)));
        stops.withdraw(partner.clone(), Purpose::Rental, at(10)).unwrap();
        assert!(stops.stop(&partner, Purpose::Rental, at(10)));
        assert!(!stops.stop(&partner, Purpose::Rental, at(11)), "a consent given anew");
        assert!(!stops.stop(&partner, Purpose::Recruitment, at(5)), "another purpose");
        assert!(!stops.stop(&"other".parse().unwrap(), Purpose::Rental, at(5)), "another partner");
        assert_eq!(stops.object(partner.clone(), Purpose::Rental, at(20)), Ok(at(20)));
        assert_eq!(stops.object(partner.clone(), Purpose::Rental, at(30)), Ok(at(20)), "repeated");
        assert!(
            stops.stop(&partner, Purpose::Rental, at(20)) && !stops.stop(&partner, Purpose::Rental, at(21))
        );
        assert_eq!(stops.iter().count(), 1);
    }

    #[test]
    fn a_full_record_says_so_and_still_takes_what_it_knows() {
        let mut stops = Stops::default();
        for number in 0..STOPS_MAX {
            stops.withdraw(format!("p{number}").parse().unwrap(), Purpose::Rental, at(1)).unwrap();
        }
        assert_eq!(stops.withdraw("one-more".parse().unwrap(), Purpose::Rental, at(1)), Err(StopsFull));
        assert_eq!(stops.withdraw("p7".parse().unwrap(), Purpose::Rental, at(9)), Ok(()));
    }
}
