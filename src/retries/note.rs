//! What replicas tell each other of a request: that one is answering it, or the answer.
//!
//! Version 1: version · kind (0 claim, 1 answer) · digest of the content (16) · of an answer: when the request was taken up (seconds, 8)
//! and its bytes. Whoever carries a note seals it.

use jiff::Timestamp;

use super::codec;
use crate::verification::ports::{Answer, QuestionDigest};

const VERSION: u8 = 1;
const CLAIM: u8 = 0;
const ANSWER: u8 = 1;

/// A note under a request's name.
pub(super) enum Note {
    /// A replica is answering.
    Claim {
        /// What.
        content: QuestionDigest,
    },
    /// It was answered.
    Answer {
        /// What.
        content: QuestionDigest,
        /// When it was taken up.
        at: Timestamp,
        /// How.
        answer: Box<Answer>,
    },
}

impl Note {
    /// Writes the note of a replica that begins to answer.
    pub(super) fn claim(content: QuestionDigest) -> Vec<u8> {
        [&[VERSION, CLAIM], &content.0[..]].concat()
    }

    /// Writes the note of a replica that has answered; `answer` is what [`codec::encode`] wrote.
    pub(super) fn answer(content: QuestionDigest, at: Timestamp, answer: &[u8]) -> Vec<u8> {
        [&[VERSION, ANSWER], &content.0[..], &at.as_second().to_be_bytes(), answer].concat()
    }

    /// Reads a note; `None` for anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let ([version, kind], rest) = bytes.split_first_chunk()?;
        let (content, rest) = rest.split_first_chunk()?;
        let content = QuestionDigest(*content);
        match (*version, *kind) {
            (VERSION, CLAIM) if rest.is_empty() => Some(Self::Claim { content }),
            (VERSION, ANSWER) => {
                let (second, answer) = rest.split_first_chunk()?;
                let at = Timestamp::from_second(i64::from_be_bytes(*second)).ok()?;
                Some(Self::Answer { content, at, answer: Box::new(codec::decode(answer)?) })
            }
            _ => None,
        }
    }

    /// Returns what the request is.
    pub(super) fn content(&self) -> QuestionDigest {
        match self {
            Self::Claim { content } | Self::Answer { content, .. } => *content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retries::codec::tests::full;

    #[test]
    fn notes_are_read_as_written_and_nothing_else_is_one() {
        let content = QuestionDigest([7; 16]);
        let claim = Note::claim(content);
        let parsed = Note::parse(&claim).unwrap();
        assert!(matches!(parsed, Note::Claim { .. }) && parsed.content() == content);

        let at = Timestamp::from_second(1_763_800_000).unwrap();
        let written = Note::answer(content, at, &codec::encode(&full()).unwrap());
        let Some(Note::Answer { content: read, at: read_at, answer }) = Note::parse(&written) else {
            panic!("it is an answer")
        };
        assert_eq!((read, read_at, answer.entry), (content, at, full().entry));

        for bytes in [&claim, &written] {
            for length in 0..bytes.len() {
                assert!(Note::parse(&bytes[..length]).is_none(), "{length}");
            }
            assert!(Note::parse(&[&bytes[..], &[0]].concat()).is_none());
            assert!(Note::parse(&[&[2], &bytes[1..]].concat()).is_none(), "another version");
            assert!(Note::parse(&[&[VERSION, 2], &bytes[2..]].concat()).is_none(), "another kind");
        }
    }
}
