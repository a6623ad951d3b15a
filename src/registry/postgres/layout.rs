//! Which partition a thing lies in.
//!
//! Records, feed rows and heads lie in the partition of their subject: the low bits of the `SubjectId`'s first byte, which is
//! random, so that this is a hash as good as any. A number lies in its *home*, the same bits of its keyed pseudonym. A new subject is given an id of
//! the home of its first number: number, record, feed and head of nearly everybody then lie in one partition, on one server, and are
//! read by one statement. Only a number that somebody got later may lie elsewhere; such a look-up takes a second statement.
//!
//! # Positions of "no such number"
//! The position of a reading says after which change it would be outdated. A number nobody has can only come into being in its home,
//! so a negative reading carries the home's position, and whoever adds a number writes a row to the feed of the number's home.

use crate::domain::subject::{NumberPseudonym, SubjectId};

/// Partitions a registry may have: as many as one byte tells apart.
pub const PARTITIONS_MAX: u16 = 256;

/// How many partitions there are: a power of two, fixed when the registry is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    mask: u8,
}

impl Layout {
    /// Returns the layout of so many partitions; `None` unless it is a power of two up to 256.
    pub(super) fn of(partitions: u16) -> Option<Self> {
        if !partitions.is_power_of_two() {
            return None;
        }
        u8::try_from(partitions - 1).ok().map(|mask| Self { mask })
    }

    /// Returns how many partitions there are.
    pub(super) fn partitions(self) -> u16 {
        u16::from(self.mask) + 1
    }

    /// Returns the partition of a subject's record and feed rows.
    pub(super) fn of_subject(self, subject: &SubjectId) -> u16 {
        u16::from(subject.as_bytes()[0] & self.mask)
    }

    /// Returns the partition a number lies in.
    pub(super) fn home(self, pseudonym: &NumberPseudonym) -> u16 {
        u16::from(pseudonym.as_bytes()[0] & self.mask)
    }

    /// Makes a subject's id of random bytes, in the home of its first number.
    pub(super) fn subject_for(self, first: &NumberPseudonym, random: [u8; 16]) -> SubjectId {
        let mut bytes = random;
        bytes[0] = bytes[0] & !self.mask | first.as_bytes()[0] & self.mask;
        SubjectId::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_are_layouts() {
        for partitions in [1, 2, 16, 64, 256] {
            assert_eq!(Layout::of(partitions).unwrap().partitions(), partitions);
        }
        for partitions in [0, 3, 100, 257, 512] {
            assert_eq!(Layout::of(partitions), None, "{partitions}");
        }
    }

    #[test]
    fn a_subject_lies_in_the_home_of_its_first_number_and_keeps_its_other_bits() {
        let layout = Layout::of(16).unwrap();
        let pseudonym = NumberPseudonym::from_bytes([0x2b; 16]);
        let subject = layout.subject_for(&pseudonym, [0xd4; 16]);
        assert_eq!((layout.of_subject(&subject), layout.home(&pseudonym)), (11, 11));
        assert_eq!(subject.as_bytes()[0], 0xdb);
        assert_eq!(subject.as_bytes()[1..], [0xd4; 15]);
    }
}
