//! Numbers nobody can have and no two drivers share.
//!
//! A resident number is 6 digits of region, 8 of birth, 3 of sequence and a check character (`docs/domain.md` §4). With
//! first digit 0 there are 100,000 regions of 1,000 sequences for every birth day. The parts are used so:
//!
//! - region 000000 belongs to the fixed test drivers and to documentation;
//! - regions 000001 to 049999 belong to the number a driver is first known by; the number it changes to lies 50,000 regions
//!   further, with everything else the same;
//! - of the sequences, every odd one below 1,000 and half of the even ones: two men to a woman.
//!
//! **Why no number comes twice.** Region and sequence make a *place*; there are [`PLACES`] of them. Index `i` has place
//! `p = (i·STEP + shift) mod PLACES`. STEP and PLACES have no common factor, so indices that differ by less than PLACES have
//! different places, and numbers with different places differ in region or sequence. Indices with the same place lie in
//! different *rounds* `r = i div PLACES`. The birth day is moved back, by at most 26 days, until its number is
//! `r + h(p)` modulo [`ROUNDS`]. For one place `h(p)` is the same in every round, so two rounds below ROUNDS give the day
//! different remainders, hence different days. So a number tells place and round, and with them its index: the map can
//! be inverted, and [`index_of`] in the tests does.

use super::calendar::Day;
use crate::domain::licence::{DocumentKind, LicenceNumber, NumberRules};

const REGIONS: u64 = 49_999;
const ODD_SEQUENCES: u64 = 500;
const SEQUENCES: u64 = ODD_SEQUENCES + 250;
/// Region and sequence together.
const PLACES: u64 = REGIONS * SEQUENCES;
/// How often all places can be gone through.
const ROUNDS: u64 = 27;
/// How far the later number's region lies from the first one's.
const LATER_REGIONS: u64 = 50_000;
/// From one index to the next in places: PLACES divided by the golden ratio, so that neighbours lie far apart.
const STEP: u64 = 23_175_811;

/// The largest population, about twice all drivers of the country: beyond it numbers could repeat.
pub const POPULATION_MAX: u64 = 1_000_000_000;
const _: () = assert!(POPULATION_MAX <= PLACES * ROUNDS);

const RULES: NumberRules = NumberRules { accept_test_numbers: true };

/// Gives numbers to the indices of one population.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    shift: u64,
}

/// Region, sequence and round of an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    index: u64,
    region: u64,
    sequence: u64,
    remainder: u64,
}

/// Which of a driver's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one the driver is first known by.
    First,
    /// The one it changes to.
    Later,
}

impl Numbers {
    /// Begins at another place for every seed.
    pub(super) fn new(random: u64) -> Self {
        Self { shift: random % PLACES }
    }

    /// Returns the place of an index below [`POPULATION_MAX`].
    pub(super) fn place(self, index: u64) -> Place {
        let place = ((index % PLACES) * STEP + self.shift) % PLACES;
        let within = place % SEQUENCES;
        let sequence = if within < ODD_SEQUENCES { 2 * within + 1 } else { 2 * (within - ODD_SEQUENCES) + 2 };
        let remainder = (index / PLACES + spread(place)) % ROUNDS;
        Place { index, region: 1 + place / SEQUENCES, sequence, remainder }
    }
}

/// Spreads the birth days of neighbouring places over all remainders.
const fn spread(place: u64) -> u64 {
    place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

impl Place {
    /// Moves a birth day back, by at most 26 days, to one on which this place is free.
    #[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "both are below 27")]
    pub(super) fn birth_day(self, wanted: Day) -> Day {
        let rounds = ROUNDS as i32;
        wanted.plus(-(wanted.number() - self.remainder as i32).rem_euclid(rounds))
    }

    /// Makes the number of somebody born on a day that [`Self::birth_day`] gave. `None` cannot occur: a test walks through
    /// every kind.
    pub(super) fn number(self, document: DocumentKind, birth: Day, which: Which) -> Option<LicenceNumber> {
        let mut text = [0_u8; 18];
        let length = match document {
            DocumentKind::ResidentId => {
                self.write_resident(birth, which, &mut text);
                18
            }
            _ => {
                self.write_free_form(which, &mut text);
                16
            }
        };
        LicenceNumber::parse(document, std::str::from_utf8(text.get(..length)?).ok()?, RULES).ok()
    }

    fn write_resident(self, birth: Day, which: Which, text: &mut [u8; 18]) {
        let region = if which == Which::First { self.region } else { self.region + LATER_REGIONS };
        let born = birth.date();
        let day = u64::from(born.year().unsigned_abs()) * 10_000
            + u64::from(born.month().unsigned_abs()) * 100
            + u64::from(born.day().unsigned_abs());
        write_digits(region, &mut text[..6]);
        write_digits(day, &mut text[6..14]);
        write_digits(self.sequence, &mut text[14..17]);
        text[17] = check_character(&text[..17]);
    }

    /// Six zeros, which no document of this kind begins with, a letter that says which number, and the index.
    fn write_free_form(self, which: Which, text: &mut [u8; 18]) {
        text[..6].fill(b'0');
        text[6] = if which == Which::First { b'V' } else { b'W' };
        write_digits(self.index, &mut text[7..16]);
    }
}

fn write_digits(mut value: u64, into: &mut [u8]) {
    for place in into.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Computes the check character of GB 11643-1999 over 17 digits.
fn check_character(digits: &[u8]) -> u8 {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    b"10X98765432"[(sum % 11) as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    /// Finds the index of a resident number: the inverse that makes the map one to one.
    fn index_of(numbers: Numbers, number: &str, which: Which) -> u64 {
        let digits = |range: std::ops::Range<usize>| number[range].parse::<u64>().unwrap();
        let region = digits(0..6) - if which == Which::First { 0 } else { LATER_REGIONS };
        let sequence = digits(14..17);
        let within = if sequence % 2 == 1 { sequence / 2 } else { ODD_SEQUENCES + sequence / 2 - 1 };
        let place = (region - 1) * SEQUENCES + within;
        let born = date(
            i16::try_from(digits(6..10)).unwrap(),
            i8::try_from(digits(10..12)).unwrap(),
            i8::try_from(digits(12..14)).unwrap(),
        );
        let remainder = u64::try_from(Day::of(born).number().rem_euclid(27)).unwrap();
        let round = (remainder + ROUNDS - spread(place) % ROUNDS) % ROUNDS;
        let unshifted = (place + PLACES - numbers.shift) % PLACES;
        round * PLACES + u64::try_from(u128::from(unshifted) * inverse() % u128::from(PLACES)).unwrap()
    }

    /// STEP's inverse modulo PLACES, by Euclid's algorithm.
    fn inverse() -> u128 {
        let (mut old, mut new) = ((i128::from(STEP), 1_i128), (i128::from(PLACES), 0_i128));
        while new.0 != 0 {
            let quotient = old.0 / new.0;
            (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
        }
        assert_eq!(old.0, 1, "STEP and PLACES have a common factor");
        u128::try_from(old.1.rem_euclid(i128::from(PLACES))).unwrap()
    }

    fn number(numbers: Numbers, index: u64, wanted: Day, which: Which) -> String {
        let place = numbers.place(index);
        let birth = place.birth_day(wanted);
        assert!((0..27).contains(&wanted.since(birth)));
        place.number(DocumentKind::ResidentId, birth, which).unwrap().expose().to_owned()
    }

    #[test]
    fn check_characters_are_those_of_the_standard() {
        assert_eq!(check_character(b"00000019900101001"), b'8');
        assert_eq!(check_character(b"00000019920229001"), b'X');
    }

    #[test]
    fn a_million_drivers_born_on_one_day_share_no_number() {
        // Everybody wants the same birth day, and the indices lie where places come round again.
        let numbers = Numbers::new(4_711);
        let wanted = Day::of(date(1990, 1, 1));
        let rounds = (0..20).map(|round| round * PLACES);
        let mut seen = HashSet::new();
        for index in rounds.flat_map(|first| first..first + 25_000) {
            for which in [Which::First, Which::Later] {
                let number = number(numbers, index, wanted, which);
                assert!(number.starts_with('0') && !number.starts_with("000000"));
                assert!(seen.insert(number.parse::<u64>().unwrap_or_else(|_| {
                    // An X counts as ten.
                    number[..17].parse::<u64>().unwrap() * 10 + 1_000_000_000_000_000_000
                })));
            }
        }
        assert_eq!(seen.len(), 1_000_000);
    }

    #[test]
    fn other_documents_have_numbers_of_their_own_form() {
        let numbers = Numbers::new(1);
        for document in [DocumentKind::Passport, DocumentKind::HkMoTravelPermit, DocumentKind::TwTravelPermit]
        {
            let place = numbers.place(POPULATION_MAX - 1);
            let birth = place.birth_day(Day::of(date(1980, 5, 5)));
            let first = place.number(document, birth, Which::First).unwrap();
            let later = place.number(document, birth, Which::Later).unwrap();
            assert_eq!((first.expose(), later.expose()), ("000000V999999999", "000000W999999999"));
            assert!(LicenceNumber::parse(document, first.expose(), NumberRules::default()).is_err());
        }
    }

    proptest! {
        #[test]
        fn every_number_leads_back_to_its_index(
            random in any::<u64>(), index in 0..POPULATION_MAX, day in -20_000_i32..20_000, later in any::<bool>(),
        ) {
            let numbers = Numbers::new(random);
            let wanted = Day::of(date(1970, 1, 1)).plus(day);
            let which = if later { Which::Later } else { Which::First };
            prop_assert_eq!(index_of(numbers, &number(numbers, index, wanted, which), which), index);
        }
    }
}
