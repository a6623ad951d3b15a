//! What every store must do with the subjects' secrets. A store runs the suite with one line.

use super::store::{LicenceStore, wait};
use super::suite::{ONE, TWO, apply, change, licensed, more, read};
use crate::domain::licence::ChangeKind;
use crate::domain::subject::SubjectId;
use crate::evidence::ports::SubjectSecrets;

pub(super) trait Store: LicenceStore + SubjectSecrets {}
impl<S: LicenceStore + SubjectSecrets> Store for S {}

pub(super) fn a_subjects_secret_is_that_of_its_record(store: &dyn Store) {
    apply(store, &[licensed(ONE), licensed(TWO)]);
    for text in [ONE, TWO] {
        let record = read(store, text).unwrap().record.unwrap();
        let secret = wait(store.secret(record.subject)).unwrap().unwrap();
        assert_eq!(secret.expose(), record.secret.expose());
    }
}

pub(super) fn nobody_has_no_secret(store: &dyn Store) {
    assert!(wait(store.secret(SubjectId::from_bytes([9; 16]))).unwrap().is_none());
}

/// Goal: what was about somebody can no longer be opened once the record is erased.
pub(super) fn an_erased_subject_has_no_secret_any_more(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let before = read(store, ONE).unwrap().record.unwrap();
    let erased = change("2026-11-20T00:00:00Z", ChangeKind::Erased);
    apply(store, &[more(ONE, erased)]);
    assert!(wait(store.secret(before.subject)).unwrap().is_none());
    assert!(read(store, ONE).unwrap().record.is_none(), "there is no such record, whatever is asked");
}

macro_rules! secrets_suite {
    ($fresh:expr) => {
        $crate::registry::secrets_suite::secrets_suite! { $fresh;
            a_subjects_secret_is_that_of_its_record
            nobody_has_no_secret
            an_erased_subject_has_no_secret_any_more
        }
    };
    ($fresh:expr; $($behaviour:ident)+) => {
        $(#[test] fn $behaviour() { $crate::registry::secrets_suite::$behaviour(&$fresh); })+
    };
}

pub(super) use secrets_suite;

mod embedded {
    use std::sync::Arc;

    use crate::registry::{EmbeddedRegistry, RegistryKeys, RegistryOptions};

    fn fresh() -> EmbeddedRegistry {
        let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
        EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
    }

    super::secrets_suite! { fresh() }
}
