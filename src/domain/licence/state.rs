//! State letters (GA/T 16.25-2012). A holder may carry several at once; an unknown letter is kept and never helps.

use crate::domain::closed_set::closed_set;

closed_set! {
    /// A state letter whose meaning is known.
    pub enum StateLetter {
        /// 正常
        Normal = b'A', "A";
        /// 超分 (记满12分)
        PointsFull = b'B', "B";
        /// 转出
        TransferredOut = b'C', "C";
        /// 暂扣
        Suspended = b'D', "D";
        /// 撤销
        Annulled = b'E', "E";
        /// 吊销
        Revoked = b'F', "F";
        /// 注销
        Cancelled = b'G', "G";
        /// 违法未处理
        ViolationPending = b'H', "H";
        /// 事故未处理
        AccidentPending = b'I', "I";
        /// 停止使用
        Stopped = b'J', "J";
        /// 扣押
        Seized = b'K', "K";
        /// 锁定
        Locked = b'L', "L";
        /// 逾期未换证
        RenewalOverdue = b'M', "M";
        /// 延期换证
        RenewalDeferred = b'N', "N";
        /// 延期体检
        MedicalDeferred = b'P', "P";
        /// 注销可恢复
        CancelledRestorable = b'R', "R";
        /// 逾期未审验
        ReviewOverdue = b'S', "S";
        /// 延期审验
        ReviewDeferred = b'T', "T";
        /// 扣留
        Detained = b'U', "U";
    }
}

/// A set of state letters A-Z, unknown ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateSet(u32);

impl StateSet {
    /// No letter: nothing was said, which is not the same as 正常.
    pub const EMPTY: Self = Self(0);

    /// Reads a string of letters, one state each: `SH`. `None` when a character is no letter A-Z.
    pub fn parse(letters: &str) -> Option<Self> {
        letters.bytes().try_fold(Self::EMPTY, |mut set, letter| {
            letter.is_ascii_uppercase().then(|| {
                set.insert_letter(letter);
                set
            })
        })
    }

    /// Adds a state.
    pub fn insert(&mut self, state: StateLetter) {
        self.insert_letter(state.code());
    }

    /// Adds a letter A-Z, known or not; anything else is ignored (the registry's codec refuses it before).
    pub fn insert_letter(&mut self, letter: u8) {
        self.0 |= bit(letter);
    }

    /// Removes a letter.
    pub fn remove_letter(&mut self, letter: u8) {
        self.0 &= !bit(letter);
    }

    /// Says whether a state is carried.
    pub fn contains(self, state: StateLetter) -> bool {
        self.contains_letter(state.code())
    }

    /// Says whether a letter is carried.
    pub fn contains_letter(self, letter: u8) -> bool {
        self.0 & bit(letter) != 0
    }

    /// Says whether no letter is carried.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the letters carried, in the order of the alphabet.
    pub fn letters(self) -> impl Iterator<Item = u8> {
        (b'A'..=b'Z').filter(move |letter| self.contains_letter(*letter))
    }

    /// Iterates over the states whose meaning is known.
    pub fn iter(self) -> impl Iterator<Item = StateLetter> {
        self.letters().filter_map(StateLetter::from_code)
    }

    /// Says whether a letter without known meaning is carried.
    pub fn has_unknown(self) -> bool {
        self.letters().any(|letter| StateLetter::from_code(letter).is_none())
    }

    /// Returns the set as it is shown: 正常 is dropped when another letter is present (`AG` equals `G`).
    pub fn shown(self) -> Self {
        let others = self.0 & !bit(b'A');
        if others == 0 { self } else { Self(others) }
    }
}

impl FromIterator<StateLetter> for StateSet {
    fn from_iter<I: IntoIterator<Item = StateLetter>>(states: I) -> Self {
        states.into_iter().fold(Self::EMPTY, |mut set, state| {
            set.insert(state);
            set
        })
    }
}

/// The bit of a letter; no bit for anything that is none.
const fn bit(letter: u8) -> u32 {
    if letter.is_ascii_uppercase() { 1 << (letter - b'A') } else { 0 }
}

impl std::fmt::Display for StateSet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown().letters().try_for_each(|letter| write!(out, "{}", char::from(letter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_states_at_once() {
        let set = StateSet::parse("SH").unwrap();
        assert!(set.contains(StateLetter::ReviewOverdue) && set.contains(StateLetter::ViolationPending));
        assert!(!set.contains(StateLetter::Normal) && !set.has_unknown());
        assert_eq!(set.to_string(), "HS");
    }

    #[test]
    fn normal_is_dropped_beside_another() {
        assert_eq!(StateSet::parse("AG").unwrap().shown(), StateSet::parse("G").unwrap());
        assert_eq!(StateSet::parse("A").unwrap().to_string(), "A");
    }

    #[test]
    fn unknown_letters_are_kept() {
        let mut set = StateSet::parse("OQZ").unwrap();
        assert!(set.has_unknown());
        assert_eq!(set.iter().count(), 0);
        assert_eq!(set.letters().collect::<Vec<_>>(), b"OQZ");
        for letter in *b"OQZ" {
            set.remove_letter(letter);
        }
        assert!(set.is_empty());
    }

    #[test]
    fn only_letters_are_states() {
        for bad in ["a", "S H", "违", "1"] {
            assert_eq!(StateSet::parse(bad), None);
        }
        let mut set = StateSet::EMPTY;
        set.insert_letter(b'@');
        assert!(set.is_empty());
    }

    #[test]
    fn every_known_letter_has_the_code_of_its_letter() {
        assert_eq!(StateLetter::ALL.len(), 19);
        for state in StateLetter::ALL {
            assert_eq!(state.word().as_bytes(), [state.code()]);
        }
    }
}
