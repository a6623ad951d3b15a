//! Full names as printed on a licence. They cannot be shown: only a mask can.

use unicode_normalization::UnicodeNormalization as _;

/// A full name in canonical form (NFKC, capital letters, single spaces, 1 to 100 characters).
#[derive(Clone, PartialEq, Eq)]
pub struct FullName(Box<str>);

/// Why a name was not accepted. Never holds the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing left after normalisation.
    #[error("must not be empty")]
    Empty,
    /// More than 100 characters.
    #[error("must have at most 100 characters")]
    TooLong,
    /// A control, format or direction-changing character.
    #[error("holds a control or direction-changing character")]
    Character,
}

impl std::fmt::Debug for FullName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("FullName([elided])")
    }
}

impl FullName {
    /// Parses a name: normalises to NFKC, folds spaces, middle dots and the case of Latin letters.
    ///
    /// # Errors
    /// See [`NameFault`].
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        if text.len() > INPUT_BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        if is_plain_han(text) {
            return Ok(Self(text.into()));
        }
        if text.chars().any(is_forbidden) {
            return Err(NameFault::Character);
        }
        let folded: String = text
            .chars()
            .filter(|char| !is_variation_selector(*char))
            .map(fold_middle_dot)
            .nfkc()
            .map(fold_middle_dot)
            .flat_map(char::to_uppercase)
            .nfkc()
            .collect();
        let canonical = folded.split_whitespace().collect::<Vec<_>>().join(" ");
        match canonical.chars().count() {
            0 => Err(NameFault::Empty),
            1..=CHARACTERS_MAX => Ok(Self(canonical.into())),
            _ => Err(NameFault::TooLong),
        }
    }

    /// Says whether a claimed name is this one. Constant time in the content.
    pub fn matches(&self, claimed: &FullName) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(claimed.0.as_bytes()).into()
    }

    /// Returns the canonical text. Callers: the mask, the registry's sealed codec, the evidence commitment.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Most bytes looked at: 100 characters of 4 bytes. More is refused before it costs a normalisation.
const INPUT_BYTES_MAX: usize = 400;

/// Most characters of a canonical name.
const CHARACTERS_MAX: usize = 100;

/// Says whether the text is what nearly all names are: Han characters, already canonical.
fn is_plain_han(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3 * CHARACTERS_MAX
        && text.chars().all(|char| matches!(char, '\u{4E00}'..='\u{9FFF}'))
}

/// Folds the ways a middle dot is typed into the one of GB/T 15834 (U+00B7).
fn fold_middle_dot(char: char) -> char {
    match char {
        '\u{0387}' | '\u{16EB}' | '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22C5}' | '\u{25CF}'
        | '\u{2E31}' | '\u{30FB}' | '\u{A78F}' | '\u{FF0E}' | '\u{FF65}' => '\u{00B7}',
        other => other,
    }
}

/// A variant of a character's shape, invisible by itself: the same name with and without it.
fn is_variation_selector(char: char) -> bool {
    matches!(char, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Says whether a character has no place in a name: control (Cc), format and direction (Cf), line and paragraph
/// separators, noncharacters. Unicode 16.
fn is_forbidden(char: char) -> bool {
    char.is_control()
        || u32::from(char) & 0xFFFE == 0xFFFE
        || matches!(char,
            '\u{00AD}' | '\u{0600}'..='\u{0605}' | '\u{061C}' | '\u{06DD}' | '\u{070F}'
            | '\u{0890}'..='\u{0891}' | '\u{08E2}' | '\u{115F}'..='\u{1160}' | '\u{180E}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FDD0}'..='\u{FDEF}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        FullName::parse(text).unwrap().expose().to_owned()
    }

    #[test]
    fn one_name_typed_in_many_ways() {
        for (typed, expected) in [
            ("张三", "张三"),
            (" 张三\u{3000}", "张三"),
            ("阿依古丽·买买提", "阿依古丽·买买提"),
            ("阿依古丽•买买提", "阿依古丽·买买提"),
            ("阿依古丽・买买提", "阿依古丽·买买提"),
            ("阿依古丽‧买买提", "阿依古丽·买买提"),
            ("阿依古丽．买买提", "阿依古丽·买买提"),
            ("阿依古丽･买买提", "阿依古丽·买买提"),
            ("Smith  John", "SMITH JOHN"),
            ("smith\u{00A0}john", "SMITH JOHN"),
            ("ＳＭＩＴＨ", "SMITH"),
            ("Renée", "RENÉE"),
            ("Rene\u{301}e", "RENÉE"),
            ("葛\u{E0100}", "葛"),
        ] {
            assert_eq!(canonical(typed), expected);
        }
    }

    #[test]
    fn another_name_does_not_match() {
        let name = FullName::parse("张三").unwrap();
        assert!(name.matches(&FullName::parse("张三 ").unwrap()));
        for other in ["张", "张三三", "张叁", "三张"] {
            assert!(!name.matches(&FullName::parse(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn bounds() {
        assert_eq!(FullName::parse(""), Err(NameFault::Empty));
        assert_eq!(FullName::parse(" \u{3000}"), Err(NameFault::Empty));
        assert!(FullName::parse(&"测".repeat(100)).is_ok());
        assert_eq!(FullName::parse(&"测".repeat(101)), Err(NameFault::TooLong));
        assert_eq!(FullName::parse(&"a".repeat(101)), Err(NameFault::TooLong));
        assert_eq!(FullName::parse(&"a".repeat(10_000)), Err(NameFault::TooLong));
        // One character that normalises to eighteen.
        assert_eq!(FullName::parse(&"\u{FDFA}".repeat(100)), Err(NameFault::TooLong));
    }

    #[test]
    fn invisible_and_direction_changing_characters_are_refused() {
        for bad in [
            "张\n三",
            "张\t三",
            "张\u{0}三",
            "\u{FEFF}张三",
            "张\u{200B}三",
            "张\u{202E}三",
            "张\u{2066}三",
            "张\u{200F}三",
            "张\u{2028}三",
            "张\u{2029}三",
            "张\u{AD}三",
            "张\u{E0041}三",
            "张\u{FFFF}三",
            "张\u{7F}三",
            "张\u{9F}三",
            "张\u{061C}三",
            "张\u{3164}",
        ] {
            assert_eq!(FullName::parse(bad), Err(NameFault::Character), "{bad:?}");
        }
    }

    #[test]
    fn names_cannot_be_shown() {
        assert_eq!(format!("{:?}", FullName::parse("测试甲").unwrap()), "FullName([elided])");
    }

    proptest! {
        #[test]
        fn canonical_is_canonical(text in "\\PC{0,40}") {
            if let Ok(name) = FullName::parse(&text) {
                let again = FullName::parse(name.expose());
                prop_assert!(again.is_ok_and(|again| again == name));
            }
        }
    }
}
