//! Searches everything a deployment wrote for marks, in every disguise a careless line of code could give them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The shortest part of a mark that is looked for in an encoding.
const ALIGNMENTS: usize = 3;

/// Lists the files that hold a mark, with the disguise it was found in.
pub(crate) fn traces_under(folder: &Path, marks: &[String]) -> Vec<String> {
    let disguises: Vec<(String, Vec<u8>)> = marks.iter().flat_map(|mark| disguises_of(mark)).collect();
    // By first byte: every file is gone through once, however many marks there are.
    let mut beginning_with = vec![Vec::new(); 256];
    for disguise in &disguises {
        beginning_with[usize::from(disguise.1[0])].push(disguise);
    }
    let mut traces = Vec::new();
    for file in files_under(folder) {
        let bytes = fs::read(&file).expect("the file can be read");
        let found = bytes.iter().enumerate().find_map(|(at, first)| {
            let mut candidates = beginning_with[usize::from(*first)].iter();
            candidates.find(|(_, needle)| bytes[at..].starts_with(needle))
        });
        traces.extend(found.map(|(what, _)| format!("{}: {what}", file.display())));
    }
    traces
}

/// Returns the ways a mark may be written.
fn disguises_of(mark: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = mark.as_bytes();
    let reversed: String = mark.chars().rev().collect();
    let backwards: Vec<u8> = bytes.iter().rev().copied().collect();
    let mut found = vec![
        (format!("{mark} as it is"), bytes.to_vec()),
        (format!("{mark} reversed"), reversed.into_bytes()),
        (format!("{mark} with its bytes reversed"), backwards),
        (format!("{mark} in hexadecimal"), hex(bytes).into_bytes()),
        (format!("{mark} in capital hexadecimal"), hex(bytes).to_uppercase().into_bytes()),
        (format!("{mark} in UTF-16"), mark.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    for skipped in 0..ALIGNMENTS {
        let inner = &bytes[skipped..];
        let whole = &inner[..inner.len() - inner.len() % 3];
        found.push((format!("{mark} in base64"), STANDARD_NO_PAD.encode(whole).into_bytes()));
        found.push((format!("{mark} in base64url"), URL_SAFE_NO_PAD.encode(whole).into_bytes()));
    }
    found
}

/// Says whether the bytes hold others.
pub(crate) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Lists every file under a folder.
pub(crate) fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        let kind = entry.file_type().expect("its kind can be read");
        if kind.is_dir() {
            found.extend(files_under(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the test below plants.
const MARK: &str = "000000197708129996";

/// A search that finds nothing anywhere would pass every test: what was planted must be found.
#[test]
fn the_search_finds_what_is_planted_in_every_disguise() {
    let folder = tempfile::tempdir().expect("a folder");
    let reversed: String = MARK.chars().rev().collect();
    let disguises = [
        MARK.to_owned(),
        reversed,
        hex(MARK.as_bytes()),
        hex(MARK.as_bytes()).to_uppercase(),
        STANDARD_NO_PAD.encode(format!("a{MARK}b")),
        STANDARD_NO_PAD.encode(format!("ab{MARK}")),
        URL_SAFE_NO_PAD.encode(MARK),
    ];
    for disguise in disguises {
        fs::write(folder.path().join("planted"), format!("before {disguise} after"))
            .expect("it can be written");
        assert_eq!(traces_under(folder.path(), &[MARK.to_owned()]).len(), 1, "{disguise} was not found");
    }
    fs::write(folder.path().join("planted"), "nothing of the kind").expect("it can be written");
    assert!(traces_under(folder.path(), &[MARK.to_owned()]).is_empty());
}
