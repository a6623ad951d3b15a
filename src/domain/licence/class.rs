//! Vehicle classes (准驾车型) of Order 162 annex 1, in force 1 April 2022.

use jiff::civil::Date;

use crate::domain::closed_set::closed_set;

closed_set! {
    /// A class printed on a licence.
    pub enum VehicleClass {
        /// 大型客车
        A1 = 1, "A1";
        /// 重型牵引挂车
        A2 = 2, "A2";
        /// 城市公交车
        A3 = 3, "A3";
        /// 中型客车
        B1 = 4, "B1";
        /// 大型货车
        B2 = 5, "B2";
        /// 小型汽车
        C1 = 6, "C1";
        /// 小型自动挡汽车
        C2 = 7, "C2";
        /// 低速载货汽车
        C3 = 8, "C3";
        /// 三轮汽车
        C4 = 9, "C4";
        /// 残疾人专用小型自动挡载客汽车
        C5 = 10, "C5";
        /// 轻型牵引挂车, new on 1 April 2022
        C6 = 11, "C6";
        /// 普通三轮摩托车
        D = 12, "D";
        /// 普通二轮摩托车
        E = 13, "E";
        /// 轻便摩托车
        F = 14, "F";
        /// 轮式专用机械车
        M = 15, "M";
        /// 无轨电车
        N = 16, "N";
        /// 有轨电车
        P = 17, "P";
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClassSet(u32);

/// One class held, with the day it began: an upgrade has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassHolding {
    /// The class.
    pub class: VehicleClass,
    /// First day of the class (起始日期).
    pub since: Date,
}

closed_set! {
    /// The group of a class: probation runs once for each (Order 162 art. 76).
    pub enum MotorType {
        /// 汽车类
        Car = 1, "car";
        /// 摩托车类
        Motorcycle = 2, "motorcycle";
        /// Neither: 轮式专用机械车, 无轨电车, 有轨电车 (*unverified*: the text of art. 109(4) was not seen).
        Other = 3, "other";
    }
}

/// Classes that were not a sequence of known classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassesFault {
    /// Nothing is printed.
    #[error("names no class")]
    Empty,
    /// A token is no class.
    #[error("holds something that is no class")]
    Unknown,
    /// A class is printed twice.
    #[error("names a class twice")]
    Duplicate,
}

impl VehicleClass {
    /// Returns what this class permits besides itself: the last column of the annex, as printed in `docs/domain.md` §1.
    pub const fn also_covers(self) -> ClassSet {
        use VehicleClass::{A1, A2, A3, B1, B2, C1, C2, C3, C4, C5, C6, D, E, F, M, N, P};
        ClassSet::of(match self {
            A1 => &[A3, B1, B2, C1, C2, C3, C4, M],
            A2 => &[B1, B2, C1, C2, C3, C4, C6, M],
            A3 => &[C1, C2, C3, C4],
            B1 | B2 => &[C1, C2, C3, C4, M],
            C1 => &[C2, C3, C4],
            C3 => &[C4],
            D => &[E, F],
            E => &[F],
            C2 | C4 | C5 | C6 | F | M | N | P => &[],
        })
    }

    /// Says whether a holder of this class may drive what needs the other. Reflexive and transitive.
    pub const fn covers(self, needed: Self) -> bool {
        self as u8 == needed as u8 || self.also_covers().contains(needed)
    }

    /// Returns the group of the class.
    pub const fn motor_type(self) -> MotorType {
        use VehicleClass::{A1, A2, A3, B1, B2, C1, C2, C3, C4, C5, C6, D, E, F, M, N, P};
        match self {
            A1 | A2 | A3 | B1 | B2 | C1 | C2 | C3 | C4 | C5 | C6 => MotorType::Car,
            D | E | F => MotorType::Motorcycle,
            M | N | P => MotorType::Other,
        }
    }
}

impl ClassSet {
    /// No class.
    pub const EMPTY: Self = Self(0);

    /// Builds a set.
    pub const fn of(classes: &[VehicleClass]) -> Self {
        let mut set = Self::EMPTY;
        let mut index = 0;
        while index < classes.len() {
            set = set.with(classes[index]);
            index += 1;
        }
        set
    }

    /// Returns this set with one more class.
    pub const fn with(self, class: VehicleClass) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    /// Adds a class; says whether it was new.
    pub fn insert(&mut self, class: VehicleClass) -> bool {
        let new = !self.contains(class);
        *self = self.with(class);
        new
    }

    /// Removes a class; says whether it was there.
    pub fn remove(&mut self, class: VehicleClass) -> bool {
        let held = self.contains(class);
        self.0 &= !(1 << class as u8);
        held
    }

    /// Says whether the class itself is in the set; [`ClassSet::covers`] asks for more.
    pub const fn contains(self, class: VehicleClass) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    /// Says whether any class of the set permits what needs `needed`.
    pub fn covers(self, needed: VehicleClass) -> bool {
        self.iter().any(|held| held.covers(needed))
    }

    /// Returns every class the set permits.
    pub fn closure(self) -> Self {
        self.iter().fold(self, |all, held| all.union(held.also_covers()))
    }

    /// Returns the classes in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the classes in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the classes of this set that the other lacks.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Says whether no class is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the classes in the order of the annex.
    pub fn iter(self) -> impl Iterator<Item = VehicleClass> {
        VehicleClass::ALL.iter().copied().filter(move |class| self.contains(*class))
    }

    /// Returns the bits for storage: bit n stands for the class with code n.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Reads stored bits; `None` when a bit stands for no class.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let known = VehicleClass::ALL.iter().fold(0, |all, class| all | 1 << class.code());
        (bits & !known == 0).then_some(Self(bits))
    }

    /// Parses classes as licences print them, without separator: `A1A2D`.
    /// A, B and C take one digit; D, E, F, M, N and P take none.
    ///
    /// # Errors
    /// See [`ClassesFault`].
    pub fn parse(printed: &str) -> Result<Self, ClassesFault> {
        let mut set = Self::EMPTY;
        let mut rest = printed;
        while let Some(first) = rest.bytes().next() {
            let length = if matches!(first, b'A'..=b'C') { 2 } else { 1 };
            let (token, after) = rest.split_at_checked(length).ok_or(ClassesFault::Unknown)?;
            let class = token.parse().map_err(|_| ClassesFault::Unknown)?;
            if !set.insert(class) {
                return Err(ClassesFault::Duplicate);
            }
            rest = after;
        }
        if set.is_empty() { Err(ClassesFault::Empty) } else { Ok(set) }
    }
}

impl FromIterator<VehicleClass> for ClassSet {
    fn from_iter<I: IntoIterator<Item = VehicleClass>>(classes: I) -> Self {
        classes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl std::fmt::Display for ClassSet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.iter().try_for_each(|class| out.write_str(class.word()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The annex as tabled in `docs/domain.md` §1, written down a second time.
    const ANNEX: [(&str, &str); 17] = [
        ("A1", "A3B1B2C1C2C3C4M"),
        ("A2", "B1B2C1C2C3C4C6M"),
        ("A3", "C1C2C3C4"),
        ("B1", "C1C2C3C4M"),
        ("B2", "C1C2C3C4M"),
        ("C1", "C2C3C4"),
        ("C2", ""),
        ("C3", "C4"),
        ("C4", ""),
        ("C5", ""),
        ("C6", ""),
        ("D", "EF"),
        ("E", "F"),
        ("F", ""),
        ("M", ""),
        ("N", ""),
        ("P", ""),
    ];

    #[test]
    fn every_row_of_the_annex() {
        for (class, covered) in ANNEX {
            let class: VehicleClass = class.parse().unwrap();
            assert_eq!(class.also_covers().to_string(), covered, "{class}");
            for other in VehicleClass::ALL.iter().copied() {
                let expected = other == class || class.also_covers().contains(other);
                assert_eq!(class.covers(other), expected, "{class} {other}");
            }
        }
    }

    #[test]
    fn every_trap_of_the_annex() {
        for (held, not_covered) in [
            ("A1", "A2C5C6DEFNP"),
            ("A2", "A1A3C5DEFNP"),
            ("A3", "A1A2B1B2C5C6MNP"),
            ("B1", "B2A1A3C6"),
            ("B2", "B1A2C6"),
            ("C1", "C5C6M"),
            ("C2", "C1C5C6"),
            ("C6", "C1C2"),
            ("DEF", "A1A2A3B1B2C1C2C3C4C5C6MNP"),
        ] {
            let held = ClassSet::parse(held).unwrap();
            for class in ClassSet::parse(not_covered).unwrap().iter() {
                assert!(!held.covers(class), "{held} must not cover {class}");
            }
        }
    }

    #[test]
    fn printed_combinations() {
        for printed in ["A1A2D", "A2E", "C1D", "C1", "A1A2A3B1B2C1C2C3C4C5C6DEFMNP"] {
            assert_eq!(ClassSet::parse(printed).unwrap().to_string(), printed);
        }
        for (printed, fault) in [
            ("", ClassesFault::Empty),
            ("A", ClassesFault::Unknown),
            ("A4", ClassesFault::Unknown),
            ("C1 D", ClassesFault::Unknown),
            ("c1", ClassesFault::Unknown),
            ("A测", ClassesFault::Unknown),
            ("D1", ClassesFault::Unknown),
            ("C1DC1", ClassesFault::Duplicate),
        ] {
            assert_eq!(ClassSet::parse(printed), Err(fault), "{printed}");
        }
    }

    #[test]
    fn motor_types() {
        for class in VehicleClass::ALL.iter().copied() {
            let expected = match class.word().as_bytes()[0] {
                b'A'..=b'C' => MotorType::Car,
                b'D'..=b'F' => MotorType::Motorcycle,
                _ => MotorType::Other,
            };
            assert_eq!(class.motor_type(), expected, "{class}");
        }
    }

    fn any_class() -> impl Strategy<Value = VehicleClass> {
        (1u8..=17).prop_map(|code| VehicleClass::from_code(code).unwrap())
    }

    proptest! {
        #[test]
        fn coverage_is_reflexive_and_transitive(a in any_class(), b in any_class(), c in any_class()) {
            prop_assert!(a.covers(a));
            prop_assert!(!(a.covers(b) && b.covers(c)) || a.covers(c));
        }

        #[test]
        fn the_closure_is_closed(bits in any::<u32>()) {
            let known = ClassSet::from_iter(VehicleClass::ALL.iter().copied()).bits();
            let set = ClassSet::from_bits(bits & known).unwrap();
            prop_assert_eq!(set.closure().closure(), set.closure());
            for class in VehicleClass::ALL.iter().copied() {
                prop_assert_eq!(set.covers(class), set.closure().contains(class));
            }
            prop_assert_eq!(ClassSet::from_bits(bits).is_some(), bits & !known == 0);
        }
    }
}
