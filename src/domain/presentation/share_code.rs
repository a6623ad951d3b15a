//! The text of a share code: 13 symbols of Crockford's base 32 (65 bits) and his check symbol, in groups a person can read out.

use zeroize::Zeroizing;

/// Symbols that carry the code: 13 of 5 bits are 65 bits, so that guessing is hopeless however many codes are out.
pub const SHARE_CODE_SYMBOLS: usize = 13;

/// A text of more bytes than this is no share code, however many spaces and hyphens it holds.
pub const SHARE_CODE_TEXT_MAX: usize = 64;

/// A share code, as the driver sends it. It cannot be shown but by [`Self::to_text`].
#[derive(Clone, PartialEq, Eq)]
pub struct ShareCode {
    /// The values of the symbols, 0 to 31 each.
    values: Zeroizing<[u8; SHARE_CODE_SYMBOLS]>,
}

/// Why a text is no share code. Never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareCodeFault {
    /// Not 13 symbols of Crockford's base 32 and a check symbol.
    #[error("must be 13 symbols and a check symbol of Crockford's base 32")]
    Malformed,
    /// The check symbol does not fit: a symbol is wrong, or two are swapped.
    #[error("the check symbol does not fit: a symbol was mistyped")]
    Mistyped,
}

/// Crockford's symbols by value; the last five are check symbols only.
const SYMBOLS: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

/// How many of them carry data.
const DATA_SYMBOLS: u8 = 32;

/// Where the groups begin: XXXXX-XXXXX-XXXX.
const GROUP: usize = 5;

impl ShareCode {
    /// Makes a code of random bytes: five bits of each are taken.
    pub fn generate(random: &[u8; SHARE_CODE_SYMBOLS]) -> Self {
        Self { values: Zeroizing::new(random.map(|byte| byte % DATA_SYMBOLS)) }
    }

    /// Parses a code as a person types it: lower case, spaces and hyphens anywhere, O for 0, I and L for 1.
    ///
    /// # Errors
    /// See [`ShareCodeFault`].
    pub fn parse(text: &str) -> Result<Self, ShareCodeFault> {
        if text.len() > SHARE_CODE_TEXT_MAX {
            return Err(ShareCodeFault::Malformed);
        }
        let mut symbols = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(value_of);
        let mut next = || symbols.next().flatten().ok_or(ShareCodeFault::Malformed);
        let mut values = Zeroizing::new([0; SHARE_CODE_SYMBOLS]);
        for value in values.iter_mut() {
            *value = next().ok().filter(|value| *value < DATA_SYMBOLS).ok_or(ShareCodeFault::Malformed)?;
        }
        let check = next()?;
        if symbols.next().is_some() {
            return Err(ShareCodeFault::Malformed);
        }
        let code = Self { values };
        if check == code.check_value() { Ok(code) } else { Err(ShareCodeFault::Mistyped) }
    }

    /// Writes the code for its driver: `XXXXX-XXXXX-XXXX`. Callers: the answer to the wallet that asked for it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let values = self.values.iter().copied().chain([self.check_value()]);
        let mut text = Zeroizing::new(String::with_capacity(SHARE_CODE_SYMBOLS + 3));
        for (place, value) in values.enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(SYMBOLS[usize::from(value)]));
        }
        text
    }

    /// Returns the values of the symbols, 0 to 31 each. Callers: the keyed code that names it.
    pub fn expose(&self) -> &[u8; SHARE_CODE_SYMBOLS] {
        &self.values
    }

    /// The code as a number, modulo 37: a prime, so that every single wrong symbol and every swap of neighbours shows.
    fn check_value(&self) -> u8 {
        self.values.iter().fold(0, |sum, value| ((u16::from(sum) * 32 + u16::from(*value)) % 37) as u8)
    }
}

/// Returns the value of a symbol, 0 to 36, as Crockford has it read.
fn value_of(symbol: u8) -> Option<u8> {
    let symbol = match symbol.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    SYMBOLS.iter().position(|known| *known == symbol).and_then(|place| u8::try_from(place).ok())
}

impl std::fmt::Debug for ShareCode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ShareCode([elided])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(random: [u8; SHARE_CODE_SYMBOLS]) -> ShareCode {
        ShareCode::generate(&random)
    }

    #[test]
    fn the_check_symbol_is_crockfords() {
        // 32 mod 37 is 32: '*'. 36 is written as two symbols whose check symbol is 'U'. Both of his own description.
        let number = |value: u8| {
            let mut values = [0; SHARE_CODE_SYMBOLS];
            values[11] = value / 32;
            values[12] = value % 32;
            code(values).to_text().to_string()
        };
        assert_eq!(number(0), "00000-00000-0000");
        assert_eq!(number(31), "00000-00000-00ZZ");
        assert_eq!(number(32), "00000-00000-010*");
        assert_eq!(number(36), "00000-00000-014U");
        assert_eq!(number(37), "00000-00000-0150");
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let meant = ShareCode::parse("00000-11111-0000").map(|_| ()).unwrap_err();
        assert_eq!(meant, ShareCodeFault::Mistyped);
        let shown = code([0, 1, 10, 31, 5, 0, 1, 20, 8, 9, 1, 0, 16]).to_text();
        let typed = shown.replace('0', "o").replace('1', "l").to_ascii_lowercase();
        let spaced: String = shown.chars().filter(|c| *c != '-').flat_map(|c| [' ', c, ' ']).collect();
        for text in [shown.as_str(), &typed, &typed.replace('l', "I"), &spaced, &shown.replace('-', "")] {
            assert_eq!(ShareCode::parse(text).unwrap().to_text(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_code_is_malformed_and_not_mistyped() {
        let shown = code([7; SHARE_CODE_SYMBOLS]).to_text();
        let with = |place: usize, symbol: char| {
            let mut symbols: Vec<char> = shown.chars().collect();
            symbols[place] = symbol;
            symbols.into_iter().collect::<String>()
        };
        let too_long = format!("{}{}", shown.as_str(), " ".repeat(SHARE_CODE_TEXT_MAX));
        for text in [
            String::new(),
            "-".to_owned(),
            shown[..shown.len() - 1].to_owned(),
            format!("{}0", shown.as_str()),
            too_long,
            with(0, 'U'),
            with(0, '*'),
            with(3, '_'),
            with(3, '零'),
            with(3, '\0'),
            with(3, '\n'),
        ] {
            assert_eq!(ShareCode::parse(&text), Err(ShareCodeFault::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_code_cannot_be_shown_by_accident() {
        assert_eq!(format!("{:?}", code([9; SHARE_CODE_SYMBOLS])), "ShareCode([elided])");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(random: [u8; SHARE_CODE_SYMBOLS]) {
            let made = code(random);
            let shown = made.to_text();
            prop_assert_eq!(shown.len(), "XXXXX-XXXXX-XXXX".len());
            prop_assert!(ShareCode::parse(&shown).unwrap() == made);
        }

        #[test]
        fn one_wrong_symbol_is_always_noticed(random: [u8; SHARE_CODE_SYMBOLS], place in 0..14_usize, by in 1..37_u8) {
            let shown = code(random).to_text().replace('-', "");
            let mut symbols = shown.into_bytes();
            let modulus = if place == SHARE_CODE_SYMBOLS { 37 } else { 32 };
            let other = (value_of(symbols[place]).unwrap() + by) % modulus;
            prop_assume!(SYMBOLS[usize::from(other)] != symbols[place]);
            symbols[place] = SYMBOLS[usize::from(other)];
            let text = String::from_utf8(symbols).unwrap();
            prop_assert_eq!(ShareCode::parse(&text), Err(ShareCodeFault::Mistyped));
        }

        #[test]
        fn two_neighbours_swapped_are_always_noticed(random: [u8; SHARE_CODE_SYMBOLS], place in 0..12_usize) {
            let mut symbols = code(random).to_text().replace('-', "").into_bytes();
            prop_assume!(symbols[place] != symbols[place + 1]);
            symbols.swap(place, place + 1);
            let text = String::from_utf8(symbols).unwrap();
            prop_assert_eq!(ShareCode::parse(&text), Err(ShareCodeFault::Mistyped));
        }

        #[test]
        fn no_text_can_do_harm(text in "\\PC{0,80}") {
            let _ = ShareCode::parse(&text);
        }
    }
}
