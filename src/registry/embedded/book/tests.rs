//! What the book of the embedded store must do beyond the suite: keep what was acknowledged, whatever happens.

use std::path::Path;
use std::sync::Arc;

use super::store::{About, BOOK_LOG, Book};
use super::tables::{ABOUT, ABOUT_REGISTRY_ID, USES, use_key};
use super::uses::use_of;
use crate::registry::book::{QR_USE_KEPT, UNREADABLE};
use crate::registry::book_suite::{place, qr, redeem, redemption};
use crate::registry::embedded::{BOOK_FILE, EmbeddedRegistry, RegistryError, RegistryOptions};
use crate::registry::keys::RegistryKeys;
use crate::registry::store::wait;
use crate::verification::ports::{Redeemed, Redemptions as _, StoreUnavailable};

fn fresh() -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
}

impl crate::registry::book_suite::Store for EmbeddedRegistry {
    fn sweep_now(&self, _now: jiff::Timestamp) {}
}

crate::registry::book_suite::book_suite! { fresh() }

fn open(folder: &Path, keys: &Arc<RegistryKeys>) -> Result<EmbeddedRegistry, RegistryError> {
    EmbeddedRegistry::open(folder, Arc::clone(keys), RegistryOptions::default())
}

#[test]
fn what_was_spent_stays_spent_when_the_store_is_opened_again() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let asked = redemption(qr(1), "rental-demo", "r-1");
    assert_eq!(redeem(&open(folder.path(), &keys).unwrap(), &asked), Redeemed::Now { use_number: 1 });
    let again = open(folder.path(), &keys).unwrap();
    assert!(matches!(redeem(&again, &asked), Redeemed::Before { use_number: 1, .. }));
    assert_eq!(redeem(&again, &redemption(qr(1), "rental-demo", "r-2")), Redeemed::Used);
}

/// Goal: what was acknowledged survives a process that is killed, at whatever moment.
/// Method: the files are copied while requests race, as a kill leaves them: the tree as it was last written out, the log as it is. The
/// copy is opened, and held against what had been acknowledged when the copying began.
#[test]
fn a_copy_made_in_the_middle_holds_everything_acknowledged_before_it() {
    let (here, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let store = Arc::new(open(here.path(), &keys).unwrap());
    let acknowledged = Arc::new(std::sync::atomic::AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (writing, count) = (Arc::clone(&store), Arc::clone(&acknowledged));
        let writer = scope.spawn(move || {
            for number in 0..400 {
                redeem(&*writing, &redemption(qr(number), "rental-demo", "r-1"));
                count.store(number + 1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        while !writer.is_finished() {
            // A file copied while it is written may be torn anywhere; a kill tears nothing that was synced. So the copies are
            // made of a store at rest between two commits, by standing in its line.
            let there = tempfile::tempdir().unwrap();
            let (from, to) = (here.path().to_owned(), there.path().to_owned());
            let known = Arc::clone(&acknowledged);
            let before = wait(store.book.change(move |_tables| {
                let before = known.load(std::sync::atomic::Ordering::SeqCst);
                for file in [BOOK_FILE, BOOK_LOG] {
                    std::fs::copy(from.join(file), to.join(file)).unwrap();
                }
                Ok((before, false))
            }));
            std::fs::copy(here.path().join("registry.redb"), there.path().join("registry.redb")).unwrap();
            let copy = open(there.path(), &keys).unwrap();
            for number in 0..before.unwrap() {
                let told = redeem(&copy, &redemption(qr(number), "rental-demo", "r-1"));
                assert!(matches!(told, Redeemed::Before { .. }), "{number}: {told:?}");
            }
        }
    });
}

/// Goal: where an answer stands is told at once, and is durable with the next use, or when the store is closed, or soon by itself. Method:
/// nobody waits for the note; the store is killed, closed, and left alone.
#[test]
fn a_note_that_nobody_waits_for_is_told_at_once_and_becomes_durable() {
    let (here, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let store = open(here.path(), &keys).unwrap();
    let (first, second) = (redemption(qr(1), "rental-demo", "r-1"), redemption(qr(2), "rental-demo", "r-2"));
    let stands = |store: &EmbeddedRegistry, asked| {
        matches!(redeem(store, asked), Redeemed::Before { place: Some(_), .. })
    };
    redeem(&store, &first);
    wait(store.settle(qr(1), 1, place(7))).unwrap();
    assert!(stands(&store, &first), "told at once");
    redeem(&store, &second);
    assert!(
        stands(&open(killed(&store, here.path()).path(), &keys).unwrap(), &first),
        "durable with the next"
    );

    wait(store.settle(qr(2), 1, place(8))).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(stands(&open(killed(&store, here.path()).path(), &keys).unwrap(), &second), "durable by itself");

    redeem(&store, &redemption(qr(3), "rental-demo", "r-3"));
    wait(store.settle(qr(3), 1, place(9))).unwrap();
    drop(store);
    assert!(stands(&open(here.path(), &keys).unwrap(), &redemption(qr(3), "rental-demo", "r-3")), "closed");
}

/// Copies a store's files as a kill would leave them.
fn killed(store: &EmbeddedRegistry, here: &Path) -> tempfile::TempDir {
    let there = tempfile::tempdir().unwrap();
    let (from, to) = (here.to_owned(), there.path().to_owned());
    wait(store.book.change(move |_tables| {
        for file in [BOOK_FILE, BOOK_LOG, "registry.redb"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
        Ok(((), false))
    }))
    .unwrap();
    there
}

#[test]
fn a_killed_store_comes_back_with_rows_of_every_kind_and_again() {
    let (here, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let first = open(here.path(), &keys).unwrap();
    filled(&first);
    redeem(&first, &redemption(qr(1), "rental-demo", "r-1"));
    let there = killed(&first, here.path());
    let second = open(there.path(), &keys).unwrap();
    assert_eq!(rows(&second), rows(&first));
    assert!(second.verify(&mut |_| {}).unwrap().is_sound());
    redeem(&second, &redemption(qr(2), "rental-demo", "r-2"));
    let third = open(killed(&second, there.path()).path(), &keys).unwrap();
    for number in [1, 2] {
        assert_eq!(redeem(&third, &redemption(qr(number), "rental-demo", "r-9")), Redeemed::Used, "{number}");
    }
}

#[test]
fn a_book_without_its_log_or_older_than_it_is_refused() {
    let (here, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let store = open(here.path(), &keys).unwrap();
    redeem(&store, &redemption(qr(1), "rental-demo", "r-1"));
    for (gone, told) in [(BOOK_LOG, "gone"), (BOOK_FILE, "older")] {
        let there = killed(&store, here.path());
        std::fs::remove_file(there.path().join(gone)).unwrap();
        let Err(RegistryError::Damaged(why)) = open(there.path(), &keys) else {
            panic!("opened without {gone}")
        };
        assert!(why.contains(told), "{why}");
    }
}

#[test]
fn a_book_at_rest_is_one_file() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let store = open(folder.path(), &keys).unwrap();
    redeem(&store, &redemption(qr(1), "rental-demo", "r-1"));
    drop(store);
    assert_eq!(std::fs::metadata(folder.path().join(BOOK_LOG)).unwrap().len(), 0);
    assert!(matches!(
        redeem(&open(folder.path(), &keys).unwrap(), &redemption(qr(1), "rental-demo", "r-1")),
        Redeemed::Before { .. }
    ));
}

/// Goal: the tree is written out behind a long log, and what comes after is found again.
#[test]
fn a_long_log_is_followed_by_a_checkpoint_and_loses_nothing() {
    let (here, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let store = open(here.path(), &keys).unwrap();
    let row = vec![7; 9 << 20];
    for number in 1..=3 {
        let row = row.clone();
        wait(store.book.change(move |tables| {
            tables.hold_backs.put(&mut tables.changes, &[number; 32], &row)?;
            Ok(((), true))
        }))
        .unwrap();
    }
    redeem(&store, &redemption(qr(1), "rental-demo", "r-1"));
    let again = open(killed(&store, here.path()).path(), &keys).unwrap();
    assert_eq!(rows(&again), rows(&store));
    assert_eq!(redeem(&again, &redemption(qr(1), "rental-demo", "r-2")), Redeemed::Used);
}

#[test]
fn the_book_of_another_registry_is_refused() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    drop(open(folder.path(), &keys).unwrap());
    let book = redb::Database::open(folder.path().join(BOOK_FILE)).unwrap();
    let transaction = book.begin_write().unwrap();
    transaction.open_table(ABOUT).unwrap().insert(ABOUT_REGISTRY_ID, [9; 16].as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(book);
    let Err(RegistryError::Damaged(told)) = open(folder.path(), &keys) else { panic!("it was opened") };
    assert_eq!(told, "the book beside it belongs to another registry");
}

#[test]
fn a_presentation_from_before_a_restore_is_spent_no_more() {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let database = redb::Builder::new().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
    let asked = redemption(qr(1), "rental-demo", "r-1");
    let about = About { revoked_until: Some(asked.issued_at), ..About::default() };
    super::store::create(&database, [1; 16], &about).unwrap();
    let mut store = fresh();
    *store.book = Book::start(database, &keys, [1; 16]).unwrap();
    assert_eq!(redeem(&store, &asked), Redeemed::Revoked);
    let later = jiff::SignedDuration::from_secs(1);
    let after = crate::verification::ports::Redemption { issued_at: asked.issued_at + later, ..asked };
    assert_eq!(redeem(&store, &after), Redeemed::Now { use_number: 1 });
}

#[test]
fn a_damaged_row_costs_its_own_request_alone() {
    let store = fresh();
    wait(store.book.change(|tables| {
        tables.uses.put(&mut tables.changes, &use_key(qr(1), 1), &[9, 9]).unwrap();
        Ok(((), true))
    }))
    .unwrap();
    let [damaged, whole] = [1, 2].map(|number| redemption(qr(number), "rental-demo", "r-1"));
    let both = wait(Box::pin(async { futures_util::join!(store.redeem(damaged), store.redeem(whole)) }));
    assert_eq!(both, (Err(StoreUnavailable), Ok(Redeemed::Now { use_number: 1 })));
}

#[test]
fn rows_that_are_none_are_refused() {
    let whole: Vec<u8> = [&[1][..], &[7; 32], &9_i64.to_be_bytes(), &5_u64.to_be_bytes(), b"log"].concat();
    assert!(use_of(1, &whole).is_ok() && use_of(1, &whole[..41]).is_ok() && use_of(1, &[2]).is_ok());
    let torn = (0..whole.len()).filter(|end| ![41, 49, 50, 51].contains(end)).map(|end| &whole[..end]);
    for row in torn.chain([&[2, 0][..], &[0], &[3]]) {
        let told = use_of(1, row).unwrap_err();
        assert_eq!(told.to_string(), UNREADABLE.to_string(), "{row:?}");
    }
}

/// Goal: the uses of QR codes go once nobody can spend or finish them, an eighth of them late at most, and none before.
#[test]
fn sweeping_leaves_no_use_of_a_qr_code_behind() {
    use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
    let store = fresh();
    let each = jiff::SignedDuration::from_secs(10);
    for number in 0..1_000 {
        let asked = redemption(qr(number), "rental-demo", "r-1");
        let at = asked.at + each * i32::try_from(number).unwrap();
        let expires_at = at + jiff::SignedDuration::from_secs(60);
        redeem(&store, &crate::verification::ports::Redemption { at, expires_at, ..asked });
    }
    let reading = store.book.database.begin_read().unwrap();
    let kept = reading.open_table(USES).unwrap().len().unwrap();
    let live = u64::try_from(QR_USE_KEPT.as_secs() / each.as_secs()).unwrap() + 1;
    assert!((live..=live * 8 / 7 + 8).contains(&kept), "{kept} of {live} are kept");
    assert_eq!(reading.open_table(super::tables::ENDS).unwrap().len().unwrap(), 0);
}

#[test]
fn sweeping_leaves_nothing_of_a_share_code_behind() {
    use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
    let store = fresh();
    filled(&store);
    let later = jiff::SignedDuration::from_hours(24 * 80);
    let asked = redemption(qr(77), "rental-demo", "r-1");
    let (at, expires_at) = (asked.at + later, asked.expires_at + later);
    redeem(&store, &crate::verification::ports::Redemption { at, expires_at, ..asked });
    let reading = store.book.database.begin_read().unwrap();
    assert_eq!(reading.open_table(super::tables::CODES).unwrap().len().unwrap(), 0);
    assert_eq!(reading.open_table(super::tables::ENDS).unwrap().len().unwrap(), 0);
    assert_eq!(reading.open_table(USES).unwrap().len().unwrap(), 1, "the one that was spent right now");
}

/// Fills a book with a row of every kind.
fn filled(store: &EmbeddedRegistry) {
    use crate::registry::book_suite as suite;
    suite::what_is_left_of_a_share_code_is_taken_back(store);
    suite::a_withdrawal_stands_on_the_record_and_is_told(store);
    suite::hold_backs_are_set_listed_and_lifted(store);
}

fn rows(store: &EmbeddedRegistry) -> [u64; 4] {
    let stats = store.stats().unwrap();
    [stats.uses, stats.share_codes, stats.consents, stats.hold_backs]
}

#[test]
fn a_backup_holds_the_book_and_a_restore_ends_what_was_issued_before() {
    use crate::registry::embedded::restore;
    let (here, there, keys) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        Arc::new(RegistryKeys::ephemeral().unwrap()),
    );
    let first = open(here.path(), &keys).unwrap();
    filled(&first);
    let [spent, unspent] = [1, 2].map(|number| redemption(qr(number), "rental-demo", "r-1"));
    redeem(&first, &spent);
    let mut file = Vec::new();
    first.back_up(&mut file, &mut |_| {}).unwrap();
    let now = spent.issued_at + jiff::SignedDuration::from_secs(10);
    // What a restore that was killed left behind is in nobody's way.
    std::fs::write(there.path().join(BOOK_FILE), b"half").unwrap();
    restore(std::io::Cursor::new(&file), there.path(), &keys, now, &mut |_| {}).unwrap();
    let second = open(there.path(), &keys).unwrap();
    assert_eq!(rows(&second), rows(&first));
    assert!(second.verify(&mut |_| {}).unwrap().is_sound());
    assert_eq!(redeem(&second, &unspent), Redeemed::Revoked, "it may have been spent after the backup");
    assert!(matches!(redeem(&second, &spent), Redeemed::Before { .. }), "what is known is told");
    let record = crate::registry::suite::read(&second, crate::registry::suite::ONE).unwrap().record;
    assert_eq!(record.unwrap().stops.iter().count(), 1);
}

#[test]
fn a_compaction_keeps_the_book_as_it_is() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let before = {
        let store = open(folder.path(), &keys).unwrap();
        filled(&store);
        rows(&store)
    };
    crate::registry::embedded::compact(folder.path(), Arc::clone(&keys), &mut |_| {}).unwrap();
    let store = open(folder.path(), &keys).unwrap();
    assert_eq!(rows(&store), before);
    assert!(store.verify(&mut |_| {}).unwrap().is_sound());
}

#[test]
fn a_verification_finds_rows_of_the_book_that_cannot_be_read() {
    use crate::registry::embedded::Finding;
    let store = fresh();
    filled(&store);
    let sound = store.verify(&mut |_| {}).unwrap();
    assert_eq!((sound.is_sound(), sound.book_rows), (true, rows(&store).iter().sum()));
    wait(store.book.change(|tables| {
        tables.uses.put(&mut tables.changes, &use_key(qr(1), 1), &[9]).unwrap();
        tables.codes.put(&mut tables.changes, &[1; 16], &[9]).unwrap();
        tables.consents.put(&mut tables.changes, &[1; 32], &[9]).unwrap();
        tables.hold_backs.put(&mut tables.changes, &[1; 32], &[9]).unwrap();
        Ok(((), true))
    }))
    .unwrap();
    let report = store.verify(&mut |_| {}).unwrap();
    assert_eq!(report.findings.into_iter().collect::<Vec<_>>(), [(Finding::BookRowUnreadable, 4)]);
}
