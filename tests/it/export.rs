//! Exports: asked for in so many words, for its owner's eyes alone, whole or not at all, and taken back by import.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::files::{Sandbox, licences, said, text};
use super::harness::{BINARY, Deployment};

#[test]
fn nothing_leaves_unless_it_is_said_and_never_to_a_terminal() {
    let sandbox = Sandbox::new();
    let file = sandbox.generated(5);
    assert_eq!(sandbox.import(&file, &[]).status.code(), Some(0));
    let folder = text(&sandbox.folder());
    let silent = sandbox.try_run(&["registry", "export", &folder]);
    assert_eq!(silent.status.code(), Some(1));
    assert!(silent.stdout.is_empty() && said(&silent).contains("--with-identifiers"), "{}", said(&silent));

    // `script` gives it a terminal.
    let command = format!("{BINARY} registry export {folder} --with-identifiers");
    let done = Command::new("script").args(["-qec", &command, "/dev/null"]).output().expect("script runs");
    let told = said(&done);
    assert!(told.contains("not written to a terminal"), "{told}");
    assert!(!told.contains("drivegate-licences") && !told.contains("测试"), "{told}");
}

#[test]
fn a_file_is_its_owner_s_alone_and_not_written_over() {
    let sandbox = Sandbox::new();
    let file = sandbox.generated(20);
    assert_eq!(sandbox.import(&file, &[]).status.code(), Some(0));
    let (folder, to) = (text(&sandbox.folder()), text(&sandbox.place("all.ndjson")));
    let words = ["registry", "export", &folder, "--to", &to, "--with-identifiers"];
    let done = sandbox.try_run(&words);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(done.stdout.is_empty());
    assert!(said(&done).contains("exported 20 licences, numbers and names included, to"), "{}", said(&done));
    let mode = fs::metadata(&to).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(licences(&fs::read_to_string(&to).expect("text")), sandbox.exported());

    let again = sandbox.try_run(&words);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is already there"), "{}", said(&again));
    sandbox.run(&[&words[..], &["--force"]].concat());
}

#[test]
fn a_full_disk_leaves_no_half_an_export() {
    let sandbox = Sandbox::new();
    let file = sandbox.generated(300);
    assert_eq!(sandbox.import(&file, &[]).status.code(), Some(0));
    let (folder, to) = (text(&sandbox.folder()), text(&sandbox.place("all.ndjson")));
    let words = ["registry", "export", &folder, "--to", &to, "--with-identifiers"];
    let done = sandbox.run_with_file_size_max(64, &words);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("the export ended early and is not whole"), "{}", said(&done));
    assert!(!sandbox.place("all.ndjson").exists() && !sandbox.place("all.ndjson.part").exists());
}

/// Goal: what is exported is what comes in elsewhere, histories and clocks included. Method: export, import into an empty
/// sandbox, export from there; the same from a running gateway.
#[test]
fn an_export_comes_back_and_a_running_gateway_gives_the_same() {
    let deployment = Deployment::new();
    let (folder, other) = (text(&deployment.folder()), Sandbox::new());
    let words = ["registry", "export", &folder, "--with-identifiers"];
    let offline = String::from_utf8(deployment.run(&words).stdout).expect("text");
    let gateway = deployment.serve();
    let online = String::from_utf8(other.try_run(&words).stdout).expect("text");
    assert!(gateway.stop());
    assert_eq!(licences(&offline), licences(&online));

    let file = other.file("all.ndjson", online.as_bytes());
    let done = other.import(&file, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!(other.exported(), licences(&offline));
}

#[test]
fn where_there_is_no_registry_none_is_made() {
    let sandbox = Sandbox::new();
    let done = sandbox.try_run(&["registry", "export", &text(&sandbox.folder()), "--with-identifiers"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("there is no registry"), "{}", said(&done));
    assert!(!sandbox.folder().join("data/registry.redb").exists());
}
