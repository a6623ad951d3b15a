//! From the bytes of a line to text. Line breaks come first: in neither encoding can one be a part of another character.

use std::borrow::Cow;

use encoding_rs::GB18030;

use super::error::ImportError;

/// How the input's characters are written. Declared, never guessed: a name read wrongly would be another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without its byte order mark.
    #[default]
    Utf8,
    /// GB 18030, with or without its byte order mark; GBK and GB 2312 are parts of it.
    Gb18030,
}

const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const GB18030_MARK: &[u8] = b"\x84\x31\x95\x33";

impl Encoding {
    /// Takes the byte order mark off the first line.
    ///
    /// # Errors
    /// [`ImportError::OtherMark`] when the mark says something else than what was declared.
    pub(super) fn without_mark(self, line: &[u8]) -> Result<&[u8], ImportError> {
        match self {
            Self::Utf8 => Ok(line.strip_prefix(UTF_8_MARK).unwrap_or(line)),
            Self::Gb18030 if line.starts_with(UTF_8_MARK) => Err(ImportError::OtherMark),
            Self::Gb18030 => Ok(line.strip_prefix(GB18030_MARK).unwrap_or(line)),
        }
    }

    /// Reads a line; `None` when its bytes are no text of this encoding.
    pub(super) fn text(self, line: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(line).ok().map(Cow::Borrowed),
            Self::Gb18030 => GB18030.decode_without_bom_handling_and_without_replacement(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_four_byte_characters_are_read() {
        // 测试 in two bytes each, U+20BB7 (𠮷) in four.
        let line = b"\xb2\xe2\xca\xd4\x95\x34\xb2\x35";
        assert_eq!(Encoding::Gb18030.text(line).as_deref(), Some("测试𠮷"));
        assert_eq!(Encoding::Utf8.text(line), None);
        assert_eq!(Encoding::Gb18030.text(b"\xb2"), None, "a character cut in the middle");
        assert_eq!(Encoding::Gb18030.text(b"\xff\xff"), None);
        assert!(
            matches!(Encoding::Gb18030.text(b"plain"), Some(Cow::Borrowed("plain"))),
            "nothing is copied"
        );
    }

    #[test]
    fn marks_are_taken_off_and_must_agree() {
        assert_eq!(Encoding::Utf8.without_mark(b"\xef\xbb\xbfx").unwrap(), b"x");
        assert_eq!(Encoding::Gb18030.without_mark(b"\x84\x31\x95\x33x").unwrap(), b"x");
        assert!(matches!(Encoding::Gb18030.without_mark(b"\xef\xbb\xbfx"), Err(ImportError::OtherMark)));
    }
}
