//! Receipts are true or refused, whatever was done to them.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use signed_note::{Note, Signature, StandardSigner, key_id};
use tlog_tiles::Checkpoint;
use tlog_tiles::tlog::{Error, Hash, HashReader, prove_record, stored_hash_count, stored_hashes, tree_hash};

use super::*;
use crate::audit::LogVerifier;
use crate::audit::entry::testing::{self, Answered};
use crate::audit::entry::{Entry, LeafName};
use crate::audit::keys::EntryKeys;
use crate::domain::subject::SubjectSecret;

const ORIGIN: &str = "gw-1-0123456789abcdef";
const ENTRIES: u64 = 11;
const INDEX: u64 = 6;

/// The hashes of a tree, as `tlog_tiles` numbers them.
#[derive(Default)]
struct Hashes(Vec<Hash>);

impl HashReader for Hashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

fn ed25519(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key_line(name: &str, kind: u8, key: &[u8]) -> String {
    let typed = [&[kind], key].concat();
    format!("{name}+{:08x}+{}", key_id(name, &typed), BASE64_STANDARD.encode(&typed))
}

fn signer(name: &str, seed: u8) -> StandardSigner {
    let typed = [&[1], &[seed; 32][..]].concat();
    let public = [&[1], ed25519(seed).public_key().as_ref()].concat();
    let line = format!("PRIVATE+KEY+{name}+{:08x}+{}", key_id(name, &public), BASE64_STANDARD.encode(&typed));
    StandardSigner::new(&line).unwrap()
}

fn verifier(name: &str, seed: u8) -> LogVerifier {
    LogVerifier::parse(&key_line(name, 1, ed25519(seed).public_key().as_ref())).unwrap()
}

fn witness(name: &str, seed: u8) -> WitnessKey {
    WitnessKey::parse(&key_line(name, 4, ed25519(seed).public_key().as_ref())).unwrap()
}

fn cosign(text: &[u8], name: &str, seed: u8, seconds: u64) -> Signature {
    let pair = ed25519(seed);
    let message = [format!("cosignature/v1\ntime {seconds}\n").as_bytes(), text].concat();
    let signature = [&seconds.to_be_bytes()[..], pair.sign(&message).as_ref()].concat();
    let typed = [&[4], pair.public_key().as_ref()].concat();
    Signature::new(name.to_owned(), key_id(name, &typed), signature).unwrap()
}

struct World {
    answered: Answered,
    text: String,
    other: String,
    erased: String,
}

/// One log of eleven answers, signed and cosigned; receipts of two of them.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let answered = testing::answered();
    let entries: Vec<_> =
        (0..ENTRIES).map(|index| answered.entry([u8::try_from(index).unwrap(); 16])).collect();
    let mut hashes = Hashes::default();
    for (index, entry) in (0..).zip(&entries) {
        let more = stored_hashes(index, entry, &hashes).unwrap();
        hashes.0.extend(more);
    }
    assert_eq!(hashes.0.len() as u64, stored_hash_count(ENTRIES));
    let root = tree_hash(ENTRIES, &hashes).unwrap();
    let text = Checkpoint::new(ORIGIN, ENTRIES, root, "").unwrap().to_bytes();
    let mut note = Note::new(&text, &[cosign(&text, "witness.example/w1", 9, 1_795_335_637)]).unwrap();
    note.add_sigs(&[&signer(ORIGIN, 7)]).unwrap();
    let note = note.to_bytes();
    let receipt = |index: u64, secret: Option<&SubjectSecret>| {
        let entry = &entries[usize::try_from(index).unwrap()];
        let Ok(Entry::Answer(answer)) = Entry::decode(entry) else { panic!("an answer") };
        let opening = secret.map(|secret| EntryKeys::confirmed(secret).opening(&answer.nonce));
        let proof = prove_record(ENTRIES, index, &hashes).unwrap();
        let proof = proof.into_iter().map(|hash| hash.0).collect();
        let salt_of = |code| opening.as_ref().map(|opening| opening.salt(code));
        Receipt::build(entry, salt_of, index, proof, &note).unwrap().to_text()
    };
    World {
        text: receipt(INDEX, Some(&answered.secret)),
        other: receipt(2, Some(&answered.secret)),
        erased: receipt(INDEX, None),
        answered,
    }
});

fn trust() -> Trust {
    Trust { log: verifier(ORIGIN, 7), witnesses: Vec::new(), quorum: 0 }
}

fn parse(text: &str) -> Receipt {
    Receipt::parse(text.as_bytes()).unwrap()
}

/// Everything the partner knows, as a person writes it.
fn opened() -> Vec<Opened> {
    let open =
        |(name, text): &(LeafName, &str)| Opened { name: *name, value: value_of(*name, text).unwrap() };
    testing::WRITTEN.iter().map(open).collect()
}

#[test]
fn a_receipt_reads_back_and_proves_what_it_says() {
    let receipt = parse(&WORLD.text);
    assert_eq!(receipt.to_text(), WORLD.text);
    let verified = receipt.verify(&trust(), &[]).unwrap();
    assert_eq!((verified.tree_size, verified.origin.as_str()), (ENTRIES, ORIGIN));
    assert!(verified.matched.is_empty() && !verified.root_checked);
    assert_eq!(verified.closed.len(), testing::WRITTEN.len());

    let verified = receipt.verify(&trust(), &opened()).unwrap();
    assert!(verified.root_checked && verified.closed.is_empty());
    assert_eq!(verified.matched.len(), testing::WRITTEN.len());
}

#[test]
fn another_value_and_a_missing_one_are_told_apart_from_the_right_ones() {
    let receipt = parse(&WORLD.text);
    for place in 0..testing::WRITTEN.len() {
        let mut values = opened();
        values[place].value.push(0);
        assert!(matches!(receipt.verify(&trust(), &values), Err(VerifyFault::Root)));
        let left = values.remove(place).name;
        let fault = receipt.verify(&trust(), &values).unwrap_err();
        assert!(matches!(fault, VerifyFault::Incomplete(missing) if missing == [left]));
    }
    let nobody_asked = Opened { name: LeafName::States, value: b"A".to_vec() };
    let fault = receipt.verify(&trust(), &[nobody_asked]).unwrap_err();
    assert!(matches!(fault, VerifyFault::NoLeaf(LeafName::States)));
}

#[test]
fn a_struck_receipt_opens_what_was_kept_and_nothing_else() {
    let receipt = parse(&WORLD.text);
    let struck = receipt.strike(&opened(), &[LeafName::CaseReference]).unwrap();
    let struck = parse(&struck.to_text());
    let case: Vec<_> = opened().into_iter().filter(|opened| opened.name == LeafName::CaseReference).collect();
    let verified = struck.verify(&trust(), &case).unwrap();
    assert!(verified.root_checked);
    assert_eq!(verified.matched, [LeafName::CaseReference]);
    assert!(struck.verify(&trust(), &[]).unwrap().root_checked, "the hashes alone make the root");

    let fault = struck.verify(&trust(), &opened()).unwrap_err();
    assert!(matches!(fault, VerifyFault::NoSalt(_)));
    let other = Opened { name: LeafName::CaseReference, value: b"RA-0".to_vec() };
    let fault = struck.verify(&trust(), &[other]).unwrap_err();
    assert!(matches!(fault, VerifyFault::Mismatch(LeafName::CaseReference)));
    assert!(matches!(receipt.strike(&[], &[]), Err(VerifyFault::Incomplete(_))));
}

/// The test of the promise: without `k_subject` nothing can be opened or found, what is on record still is, and what was
/// handed out before still opens.
#[test]
fn destroying_the_subjects_secret_unlinks_entries_and_leaves_proofs_and_old_receipts_alone() {
    let erased = parse(&WORLD.erased);
    assert!(erased.verify(&trust(), &[]).is_ok(), "it is still on record");
    let fault = erased.verify(&trust(), &opened()[..1]).unwrap_err();
    assert!(matches!(fault, VerifyFault::NoSalt(_)));
    assert!(parse(&WORLD.text).verify(&trust(), &opened()).is_ok(), "a receipt of before still opens");
    // What is left is the log and its secret: no key that can be made of them is the entry's.
    let answer = erased.answer();
    let handle = WORLD.answered.log.open_handle(&answer.nonce, answer.handle);
    let number = crate::domain::subject::NumberPseudonym::from_bytes(handle.0);
    let month = crate::audit::keys::Month::of(answer.at);
    assert_ne!(WORLD.answered.log.unknown_number(month, number).pseudonym(), answer.subject);
    let guessed = EntryKeys::confirmed(&SubjectSecret::from_bytes([0; 32]));
    assert_ne!(guessed.pseudonym(), answer.subject);
    assert_eq!(EntryKeys::confirmed(&WORLD.answered.secret).pseudonym(), answer.subject);
}

#[test]
fn witnesses_count_towards_the_quorum_and_a_false_cosignature_is_refused() {
    let receipt = parse(&WORLD.text);
    let with = |witnesses: Vec<WitnessKey>, quorum| Trust { witnesses, quorum, ..trust() };
    let seen = witness("witness.example/w1", 9);
    let unseen = witness("witness.example/w2", 10);
    let verified = receipt.verify(&with(vec![seen.clone(), unseen.clone()], 1), &[]).unwrap();
    assert_eq!(verified.cosignatures.len(), 1);
    assert_eq!(verified.cosignatures[0].at.as_second(), 1_795_335_637);
    let fault = receipt.verify(&with(vec![seen.clone(), unseen], 2), &[]).unwrap_err();
    assert!(matches!(fault, VerifyFault::Quorum { found: 1, needed: 2 }));
    // The last character of a signature's base64 before the padding cannot be changed freely; one in the middle can.
    let line = WORLD.text.find("witness.example/w1 ").unwrap() + "witness.example/w1 ".len() + 40;
    let mut bytes = WORLD.text.clone().into_bytes();
    bytes[line] = if bytes[line] == b'A' { b'B' } else { b'A' };
    let damaged = Receipt::parse(&bytes).unwrap();
    let fault = damaged.verify(&with(vec![seen], 1), &[]).unwrap_err();
    assert!(matches!(fault, VerifyFault::Witness(_)));
    assert!(damaged.verify(&trust(), &[]).is_ok(), "nobody asked about the witness");
}

#[test]
fn another_key_another_log_and_parts_of_another_receipt_are_refused() {
    let receipt = parse(&WORLD.text);
    for log in [verifier(ORIGIN, 8), verifier("gw-2-0123456789abcdef", 7)] {
        let fault = receipt.verify(&Trust { log, ..trust() }, &[]).unwrap_err();
        assert!(matches!(fault, VerifyFault::Checkpoint(_)));
    }
    let (mine, theirs): (Vec<_>, Vec<_>) = (WORLD.text.lines().collect(), WORLD.other.lines().collect());
    let swapped = |range: std::ops::Range<usize>| {
        let mut lines = mine.clone();
        lines[range.clone()].copy_from_slice(&theirs[range]);
        parse(&(lines.join("\n") + "\n")).verify(&trust(), &[])
    };
    // Entry, index, proof.
    for range in [1..2, 2..3, 3..7] {
        assert!(matches!(swapped(range), Err(VerifyFault::Inclusion)));
    }
    assert!(swapped(1..7).is_ok(), "all three are the other receipt");
    let beyond = WORLD.text.replace("\nindex 6\n", "\nindex 11\n");
    let fault = parse(&beyond).verify(&trust(), &[]).unwrap_err();
    assert!(matches!(fault, VerifyFault::NotCovered { index: 11, size: ENTRIES }));
}

/// Is this file, whatever it is, accepted with every value shown and the witness known?
fn is_accepted(bytes: &[u8]) -> bool {
    let trust = Trust { witnesses: vec![witness("witness.example/w1", 9)], quorum: 1, ..trust() };
    Receipt::parse(bytes).is_ok_and(|receipt| receipt.verify(&trust, &opened()).is_ok())
}

#[test]
fn no_byte_can_be_changed_and_none_be_left_out() {
    let good = WORLD.text.as_bytes();
    assert!(is_accepted(good));
    for at in 0..good.len() {
        assert!(!is_accepted(&good[..at]), "cut at {at}");
        // One bit of every byte: each costs up to two signatures.
        let mut damaged = good.to_vec();
        damaged[at] ^= 1 << (at % 8);
        assert!(!is_accepted(&damaged), "byte {at} changed");
    }
    assert!(!is_accepted(&[good, b"\n"].concat()));
    assert!(!is_accepted(&vec![b'a'; RECEIPT_BYTES_MAX + 1]));
}

#[test]
fn what_is_written_otherwise_is_refused_and_the_fault_names_the_line() {
    let line = |line| move |fault: &ReceiptFault| matches!(fault, ReceiptFault::Line { line: at, .. } if *at == line);
    let fault =
        |from: &str, to: &str| Receipt::parse(WORLD.text.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert!(line(1)(&fault("@v1", "@v2")));
    assert!(line(2)(&fault("extra ", "extra  ")));
    assert!(line(3)(&fault("index 6", "index -6")));
    assert_eq!(fault("index 6", "index 06"), ReceiptFault::NotCanonical);
    assert_eq!(fault("index 6", "index +6"), ReceiptFault::NotCanonical);
    assert!(line(4)(&fault("index 6\n", "index 6\nAAAA\n")));
    assert_eq!(fault("\n— gw", "\n- gw"), ReceiptFault::Note);
    assert_eq!(fault("\n11\n", "\n011\n"), ReceiptFault::Note);
}

#[test]
fn values_are_read_as_people_write_them_and_faults_never_repeat_them() {
    let json = r#"{"purpose":"rental","pick-up":"2026-11-22T09:00:00Z","return":"2026-11-25T09:00:00Z","min-tenure":12,
        "margin":30,"class":"C1","automatic":false,"seats":5,"mass":1900,"combination-mass":0,"use":"private"}"#;
    let typed = testing::WRITTEN.iter().find(|(name, _)| *name == LeafName::Question).unwrap().1;
    assert_eq!(value_of(LeafName::Question, json), value_of(LeafName::Question, typed));
    assert_eq!(value_of(LeafName::Pending, "violation,accident").unwrap(), [3]);
    assert_eq!(value_of(LeafName::Classes, "C1,A1"), value_of(LeafName::Classes, "A1C1"));
    assert_eq!(value_of(LeafName::Probation, "first-licence:2026-12-01").unwrap(), b"\x012026-12-01");
    assert_eq!(value_of(LeafName::PaperLicenceNeeded, "yes").unwrap(), [1]);
    assert_eq!(value_of(LeafName::Question, "enforcement").unwrap(), [6, 0]);
    for (name, bad) in [
        (LeafName::LicenceNumber, "resident-id:SECRET"),
        (LeafName::FileNumber, "SECRET"),
        (LeafName::Question, "rental,pick-up=SECRET"),
        (LeafName::Question, "{\"purpose\":SECRET"),
        (LeafName::Consent, "sha256=SECRET"),
        (LeafName::RelianceUntil, "SECRET"),
        (LeafName::Remedies, "SECRET"),
        (LeafName::States, "sécret SECRET"),
    ] {
        let fault = value_of(name, bad).unwrap_err().to_string();
        assert!(!fault.contains("SECRET"), "{fault}");
    }
    let fault = value_of(LeafName::Question, "transport,role=goods,colour=red").unwrap_err().to_string();
    assert!(fault.contains("`colour`") && fault.contains("does not belong here"), "{fault}");
}

proptest! {
    #[test]
    fn arbitrary_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Receipt::parse(&bytes);
    }

    #[test]
    fn arbitrary_extra_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let entry = parse(&WORLD.text).entry().to_vec();
        let length = u16::try_from(entry.len()).unwrap().to_be_bytes();
        for extra in [bytes.clone(), [&[1], &length[..], &entry[..], &bytes[..]].concat()] {
            let mut lines: Vec<_> = WORLD.text.lines().collect();
            let line = format!("extra {}", BASE64_STANDARD.encode(extra));
            lines[1] = &line;
            let text = lines.join("\n") + "\n";
            if let Ok(receipt) = Receipt::parse(text.as_bytes()) {
                prop_assert_eq!(receipt.to_text(), text);
            }
        }
    }

    #[test]
    fn arbitrary_values_never_panic(text in ".{0,60}") {
        for name in LeafName::ALL {
            let _ = value_of(*name, &text);
        }
    }
}

#[test]
fn what_was_shown_and_what_a_peer_saw_are_written_as_people_do() {
    let of = |name, text: &str| value_of(name, text).map_err(|fault| fault.to_string());
    let code = crate::domain::presentation::ShareCode::generate(&[7; 13]).to_text();
    let written = Ok(code.as_bytes().to_vec());
    assert_eq!(of(LeafName::Presentation, &code), written);
    assert_eq!(of(LeafName::Presentation, &code.to_lowercase().replace('-', " ")), written);
    assert_eq!(of(LeafName::Presentation, "DG1:A B"), Ok(b"DG1:A B".to_vec()));
    for (text, value) in [("normal", [1, 0]), ("red,deferred", [2, 1]), ("void", [3, 0])] {
        assert_eq!(of(LeafName::Display, text), Ok(value.to_vec()), "{text}");
    }
    for (text, value) in [("nothing", 0), ("car", 1), ("motorcycle", 2), ("car,motorcycle", 3)] {
        assert_eq!(of(LeafName::ClassGroups, text), Ok(vec![value]), "{text}");
    }
    let scan = [&[7, 1], &b"000000199001010018"[..]].concat();
    assert_eq!(of(LeafName::Question, "peer-scan,scanner=resident-id:000000199001010018"), Ok(scan));
    for (name, text) in [
        (LeafName::Presentation, "what"),
        (LeafName::Display, "hidden"),
        (LeafName::Display, "red,green"),
        (LeafName::ClassGroups, "bus"),
        (LeafName::Question, "peer-scan"),
        (LeafName::Question, "peer-scan,scanner=resident-id:1"),
    ] {
        assert!(of(name, text).is_err(), "{name} {text}");
    }
}
