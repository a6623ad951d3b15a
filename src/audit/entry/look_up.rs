//! From an entry to what the index keeps of it.

use super::codec::DecodeError;
use super::{AnswerEntry, Entry};
use crate::audit::keys::LogSecret;
use crate::evidence::ports::LookUp;

/// Returns what the index keeps of an entry; `None` when nobody was looked up in it.
///
/// # Errors
/// [`DecodeError`] when the bytes are none of this build's entries.
pub fn look_up(index: u64, bytes: &[u8], secret: &LogSecret) -> Result<Option<LookUp>, DecodeError> {
    match Entry::decode(bytes)? {
        Entry::Answer(answer) => Ok(Some(of_answer(index, &answer, secret))),
        Entry::Refusals(_) | Entry::Access(_) => Ok(None),
    }
}

fn of_answer(index: u64, answer: &AnswerEntry<'_>, secret: &LogSecret) -> LookUp {
    LookUp {
        index,
        at: answer.at,
        subject: secret.open_handle(&answer.nonce, answer.handle),
        request: answer.request.map(|digest| digest.0),
        case: answer.case.0,
    }
}
