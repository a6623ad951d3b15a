//! Who a synthetic driver is: a birth date, a number nobody can have, a test name.

use jiff::civil::{Date, date};
use jiff::{SpanRelativeTo, ToSpan as _, Unit};

use super::chance::Chance;

/// Numbers of this day belong to the fixed test drivers.
const RESERVED_BIRTH_DAY: Date = date(1990, 1, 1);
/// Sequences of a birth day within one region code.
const SEQUENCES: u64 = 1_000;
/// Region codes 000000 to 099999: nobody's number begins with 0.
const REGIONS: u64 = 100_000;

/// Ages in whole years, both ends excluded at the upper: a band's drivers spread evenly over its birth days.
struct Band {
    from_age: i32,
    to_age: i32,
    /// Steps through the band's days so that neighbours in the population are not neighbours in age; prime.
    stride: u64,
}

/// Four bands, taken in turn: half of all drivers are between 28 and 48.
const BANDS: [Band; 4] = [
    Band { from_age: 19, to_age: 28, stride: 2_003 },
    Band { from_age: 28, to_age: 38, stride: 2_203 },
    Band { from_age: 38, to_age: 48, stride: 2_503 },
    Band { from_age: 48, to_age: 72, stride: 5_003 },
];

const SURNAME: &str = "测试";
const GIVEN: [&str; 48] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超",
    "霞", "平", "刚", "玲", "红", "鑫", "波", "宇", "浩", "凯", "健", "俊", "帆", "雪", "琳", "晨", "阳",
    "倩", "宁", "博", "文", "玉", "兰", "建", "国", "华", "春", "梅", "海", "燕", "峰",
];

/// A synthetic person.
pub(super) struct Person {
    pub(super) birth_day: Date,
    pub(super) number: String,
    pub(super) name: String,
}

impl Person {
    /// Makes the person with this index; no two indices of a population share a number.
    pub(super) fn at(index: u64, as_of: Date, chance: &mut Chance) -> Self {
        let band = &BANDS[usize::try_from(index % 4).unwrap_or(0)];
        let (youngest, days) = band.days(as_of);
        let within = index / 4;
        let offset = (within % days) * band.stride % days;
        let mut birth_day = youngest.saturating_sub(i64::try_from(offset).unwrap_or(0).days());
        let mut round = within / days;
        if birth_day == RESERVED_BIRTH_DAY {
            // The day before, in regions no other round reaches.
            birth_day = birth_day.saturating_sub(1.day());
            round += SEQUENCES * (REGIONS / 2);
        }
        Self { birth_day, number: number(birth_day, round), name: name(chance) }
    }
}

impl Band {
    /// Returns the last birth day of the band and how many days it has; a multiple of no stride.
    fn days(&self, as_of: Date) -> (Date, u64) {
        let youngest = as_of.saturating_sub(self.from_age.years());
        let oldest = as_of.saturating_sub(self.to_age.years());
        let span = oldest.until(youngest);
        let days = span.and_then(|span| span.total((Unit::Day, SpanRelativeTo::days_are_24_hours())));
        (youngest, days.map_or(1, whole_days).max(1))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand days")]
fn whole_days(days: f64) -> u64 {
    days as u64
}

fn number(birth_day: Date, round: u64) -> String {
    let (region, sequence) = (round / SEQUENCES % REGIONS, round % SEQUENCES);
    let digits = format!(
        "{region:06}{:04}{:02}{:02}{sequence:03}",
        birth_day.year(),
        birth_day.month(),
        birth_day.day()
    );
    let check = check_character(&digits);
    format!("{digits}{check}")
}

/// Computes the check character of GB 11643-1999 over 17 digits.
fn check_character(digits: &str) -> char {
    let (mut weight, mut sum) = (2_u32, 0_u32);
    for digit in digits.bytes().rev() {
        sum += u32::from(digit - b'0') * weight;
        weight = weight * 2 % 11;
    }
    char::from(b"10X98765432"[(sum % 11) as usize])
}

fn name(chance: &mut Chance) -> String {
    let mut name = String::from(SURNAME);
    name.push_str(chance.pick(&GIVEN));
    if chance.permille(700) {
        name.push_str(chance.pick(&GIVEN));
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn check_characters_are_those_of_the_standard() {
        assert_eq!(check_character("00000019900101001"), '8');
        assert_eq!(check_character("00000019920229001"), 'X');
    }

    #[test]
    fn no_two_people_share_a_number() {
        let as_of = date(2026, 11, 1);
        let mut numbers = HashSet::new();
        // The first 40,000, and as many around where a band's days come round again.
        for index in (0..40_000).chain(13_000_000..13_040_000) {
            let person = Person::at(index, as_of, &mut Chance::of(1, index));
            assert!(person.birth_day != RESERVED_BIRTH_DAY && person.number.starts_with('0'));
            assert!(numbers.insert(person.number), "{index}");
        }
    }
}
