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

closed_set! {
    /// Why a state letter was set or lifted. GA/T 16.26 (注销原因) was not seen: the words are this registry's own, after the
    /// acts the laws name (`docs/domain.md` §§2, 3).
    pub enum StateGround {
        /// The holder died.
        Death = 1, "death";
        /// The holder asked for it.
        Request = 2, "request";
        /// The holder's physical condition no longer fits. Health: nobody's business.
        Health = 3, "health";
        /// The medical was not handed in for a year (Order 162 art. 79(9)). Health: nobody's business.
        NoMedical = 4, "no-medical";
        /// Drug use.
        DrugUse = 5, "drug-use";
        /// Expired for more than a year (Order 162 art. 79).
        Expiry = 6, "expiry";
        /// The holder of nothing but classes with a ceiling reached it (Order 162 art. 79(10)).
        Age = 7, "age";
        /// 12 points were reached (记分管理办法 art. 17).
        PointsFull = 8, "points-full";
        /// The study after 12 points was refused (记分管理办法 art. 29).
        StudyRefused = 9, "study-refused";
        /// A penalty for an offence.
        Penalty = 10, "penalty";
        /// An accident.
        Accident = 11, "accident";
        /// Obtained by deceit (Order 162 art. 15(10)).
        Deceit = 12, "deceit";
        /// Held as evidence or by another measure of coercion.
        Measure = 13, "measure";
        /// The file moved to another authority.
        Transfer = 14, "transfer";
        /// Service in the army (Order 162 art. 75).
        Service = 15, "service";
        /// Abroad (Order 162 art. 75).
        Abroad = 16, "abroad";
        /// Lifted: its term ran out.
        TermEnded = 17, "term-ended";
        /// Lifted: study and test passed, fines paid (记分管理办法 art. 23).
        StudyPassed = 18, "study-passed";
        /// Lifted: what was due was done.
        Fulfilled = 19, "fulfilled";
        /// Lifted: restored within two years of cancellation.
        Restored = 20, "restored";
        /// Lifted: the decision was reversed (记分管理办法 art. 16).
        Reversed = 21, "reversed";
        /// Set or lifted to correct a recording error.
        Correction = 22, "correction";
        /// Anything else.
        Other = 23, "other";
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
