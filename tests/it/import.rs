//! Imports as an operator meets them, with the real binary: bad files, full disks, kills, Ctrl-C.

use std::fs;
use std::process::Output;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::files::{Sandbox, bytes_of, feed, rejects, said, text};
use super::harness::Deployment;

/// Licences per commit.
const BATCH: u64 = 4_000;
const NUMBER: &str = "000000199001010018";
const OTHER: &str = "000000199001010026";
const THIRD: &str = "00000019920229001X";
const NAME: &str = "测试小明";

fn change(effective: &str, recorded_at: &str, kind: &str) -> String {
    format!(r#"{{"effective":"{effective}","recorded_at":"{recorded_at}T09:30:00+08:00","kind":{kind}}}"#)
}

fn line(number: &str, changes: &[String]) -> String {
    format!(r#"{{"number":"{number}","name":"{NAME}","changes":[{}]}}"#, changes.join(","))
}

fn issued() -> String {
    change("2015-03-01", "2015-03-01", r#""issued""#)
}

/// The operator may see lines and reasons, never what stands in a line.
fn assert_shows_nothing(done: &Output) {
    let said = said(done);
    for value in [NUMBER, OTHER, THIRD, "0000001", NAME, "小明"] {
        assert!(!said.contains(value), "{said}");
    }
}

/// Goal: a file that was cut is never taken for whole, and finishing it is one command. Method: the file is cut in the middle
/// of a line, then between two lines; then the whole one is imported over it.
#[test]
fn a_cut_file_is_told_and_the_whole_one_finishes_it() {
    let sandbox = Sandbox::new();
    let whole = sandbox.generated(200);
    let bytes = bytes_of(&whole);
    let ends: Vec<_> =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    // Lines 1 to 149 are whole, the first of them the begin line; line 150 is cut.
    let cut = sandbox.file("cut.ndjson", &bytes[..ends[148] + 200]);
    let done = sandbox.import(&cut, &[]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("the file breaks off after line 150"), "{}", said(&done));
    assert_eq!(sandbox.subjects(), 148);
    let refused = rejects(&sandbox.place("cut.ndjson.rejects.ndjson"));
    assert_eq!(refused, [(150, "ends in the middle of its JSON object".to_owned())]);

    let between = sandbox.file("between.ndjson", &bytes[..=ends[159]]);
    let done = sandbox.import(&between, &[]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("the file breaks off after line 160"), "{}", said(&done));

    let done = sandbox.import(&whole, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(
        said(&done).contains("200 lines: 41 new, 0 extended, 159 unchanged, 0 refused in "),
        "{}",
        said(&done)
    );
    assert!(said(&done).contains(" MB/s)"), "it says how fast it was");
    assert!(done.stderr.is_empty(), "no bar where nobody watches");
    assert_eq!(sandbox.subjects(), 200);
}

#[test]
fn files_from_windows_and_in_gb18030_say_the_same() {
    let sandbox = Sandbox::new();
    let plain = sandbox.generated(30);
    let text_of = String::from_utf8(bytes_of(&plain)).expect("it is UTF-8");
    let windows = [b"\xef\xbb\xbf", text_of.replace('\n', "\r\n").as_bytes()].concat();
    let windows = sandbox.file("windows.ndjson", &windows);
    assert_eq!(sandbox.import(&windows, &[]).status.code(), Some(0));
    let expected = sandbox.exported();
    assert_eq!(expected.len(), 30);

    let other = Sandbox::new();
    let (encoded, ..) = encoding_rs::GB18030.encode(&text_of);
    let encoded = other.file("gb.ndjson", &encoded);
    let undeclared = other.import(&encoded, &[]);
    assert_eq!(undeclared.status.code(), Some(1));
    let words = said(&undeclared);
    assert!(words.contains("line 2 is not UTF-8") && words.contains("--encoding gb18030"), "{words}");
    assert_shows_nothing(&undeclared);
    assert_eq!(other.import(&encoded, &["--encoding", "gb18030"]).status.code(), Some(0));
    assert_eq!(other.exported(), expected);

    let wrongly = other.import(&windows, &["--encoding", "gb18030"]);
    assert_eq!(wrongly.status.code(), Some(1));
    assert!(said(&wrongly).contains("byte order mark of UTF-8"), "{}", said(&wrongly));
}

#[test]
fn bad_lines_are_named_and_the_rest_goes_in() {
    let sandbox = Sandbox::new();
    let unknown_letter = change("2020-01-01", "2020-01-01", r#""state-set","letter":"Q""#);
    let unborn = change("1980-01-01", "2015-03-01", r#""issued""#);
    let back = change("2014-01-01", "2014-01-01", r#""points-cleared""#);
    let conflicting = change("2016-03-01", "2016-03-01", r#""issued""#);
    let known = line(NUMBER, &[issued(), unknown_letter]);
    assert_eq!(sandbox.import(&sandbox.file("first.ndjson", known.as_bytes()), &[]).status.code(), Some(0));
    let long = format!(r#"{{"number":"{}"}}"#, "9".repeat(70_000));
    let lines = [
        known.clone(),
        line(NUMBER, &[conflicting]),
        line(OTHER, &[unborn]),
        line(OTHER, &[issued(), back]),
        long,
        line(OTHER, &[issued()]).replace("小明", "小\0明"),
        line(OTHER, &[issued()]),
        line(OTHER, &[issued()]),
        line("000000199001010013", &[issued()]),
        line(THIRD, &[issued()])[..70].to_owned(),
    ];
    let file = sandbox.file("bad.ndjson", lines.join("\r\n").as_bytes());
    let done = sandbox.import(&file, &[]);
    assert_eq!(done.status.code(), Some(2));
    assert!(said(&done).contains("10 lines: 1 new, 0 extended, 1 unchanged, 8 refused"), "{}", said(&done));
    assert_shows_nothing(&done);
    let mut refused = rejects(&sandbox.place("bad.ndjson.rejects.ndjson"));
    refused.sort();
    let expected = [
        (2, "conflicts with the history on record"),
        (3, "a change takes effect before the birth date"),
        (4, "a change was recorded before the one ahead of it"),
        (5, "longer than 65536 bytes"),
        (6, "holds a NUL byte: the file is damaged"),
        (8, "duplicate number: an earlier line has it"),
        (9, "number: check character does not fit"),
        (10, "ends in the middle of its JSON object"),
    ];
    assert_eq!(refused, expected.map(|(line, reason)| (line, reason.to_owned())));
    let letters = &sandbox.stats()["letters"];
    assert_eq!(letters["Q"], 1, "an unknown letter is kept: {letters}");
}

#[test]
fn a_file_from_a_newer_version_is_refused_and_says_which() {
    let sandbox = Sandbox::new();
    let newer = format!("{{\"drivegate-licences\":7,\"part\":\"begin\"}}\n{}\n", line(NUMBER, &[issued()]));
    let csv = "#drivegate-licences 7\nnumber,name,first_issue,classes\n";
    for (name, content) in [("newer.ndjson", newer.as_str()), ("newer.csv", csv)] {
        let done = sandbox.import(&sandbox.file(name, content.as_bytes()), &[]);
        assert_eq!(done.status.code(), Some(1));
        let words = said(&done);
        assert!(words.contains("line 1 says format 7; this program reads up to format 1"), "{words}");
    }
    assert_eq!(sandbox.subjects(), 0);
}

#[test]
fn another_registry_s_keys_are_refused_at_start() {
    let [one, two] = [Sandbox::new(), Sandbox::new()];
    let file = one.generated(5);
    for sandbox in [&one, &two] {
        assert_eq!(sandbox.import(&file, &[]).status.code(), Some(0));
    }
    let keys = |sandbox: &Sandbox| sandbox.folder().join("data/registry.keys");
    fs::copy(keys(&two), keys(&one)).expect("the keys can be mistaken");
    let folder = text(&one.folder());
    let config = text(&one.folder().join("config.toml"));
    let attempts: [&[&str]; 4] = [
        &["registry", "import", "5.ndjson", "--dir", &folder],
        &["registry", "export", &folder, "--with-identifiers"],
        &["registry", "stats", "--dir", &folder],
        &["serve", "--config", &config, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    ];
    for words in attempts {
        let done = one.try_run(words);
        assert_eq!(done.status.code(), Some(1), "{words:?}");
        assert!(
            said(&done).contains("the keys are not those this registry was made with"),
            "{}",
            said(&done)
        );
    }
}

/// Goal: a disk that fills up ends the import with every batch whole or absent, and the same command finishes it.
#[test]
fn a_full_disk_ends_the_import_and_the_same_command_finishes_it() {
    let sandbox = Sandbox::new();
    let file = text(&sandbox.generated(12_000));
    let folder = text(&sandbox.folder());
    let words = ["registry", "import", &file, "--dir", &folder];
    let done = sandbox.run_with_file_size_max(4_096, &words);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    let told = said(&done);
    assert!(
        told.contains("what was committed stays") && told.contains("cannot take the lines up to"),
        "{told}"
    );
    assert_shows_nothing(&done);
    let held = sandbox.subjects();
    assert!(held < 12_000 && held.is_multiple_of(BATCH), "{held}");
    sandbox.run(&words);
    assert_eq!(sandbox.subjects(), 12_000);
}

/// Goal: kill -9 at any moment leaves whole batches, and the same command finishes the import to the same registry as one that
/// was never killed. Method: one kill while exactly two batches are in, some at arbitrary moments, then a run to the end.
#[test]
fn a_killed_import_leaves_whole_batches_and_is_finished_by_the_same_command() {
    let sandbox = Sandbox::new();
    // The first few are there already: into an empty registry nothing goes before it is known how much comes.
    assert_eq!(sandbox.import(&sandbox.generated(5), &[]).status.code(), Some(0));
    let file = sandbox.generated(10_000);
    let bytes = bytes_of(&file);
    let mut import = sandbox.import_from_pipe();
    let begun = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(9_500);
    feed(&mut import, &bytes[..begun.expect("it has more lines").0]);
    sandbox.wait_until_settled();
    import.kill().and_then(|()| import.wait()).expect("it was running");
    assert_eq!(sandbox.subjects(), 2 * BATCH, "two batches, nothing of the third");

    let mut rest = Sandbox::new();
    for wait in [40, 250, 700] {
        let mut import = rest.import_from_pipe();
        let pipe = import.stdin.take();
        let content = bytes.clone();
        let feeding =
            std::thread::spawn(move || std::io::Write::write_all(&mut pipe.expect("piped"), &content));
        std::thread::sleep(Duration::from_millis(wait));
        import.kill().and_then(|()| import.wait()).expect("it can be killed");
        // Either all of it was taken, or the pipe broke.
        let _fed = feeding.join().expect("it feeds");
        if rest.folder().join("data/registry.redb").exists() {
            let held = rest.subjects();
            assert!(held.is_multiple_of(BATCH) || held == 10_000, "{held} after {wait} ms");
        }
    }
    for unfinished in [&sandbox, &rest] {
        assert_eq!(unfinished.import(&file, &[]).status.code(), Some(0));
        assert_eq!(unfinished.subjects(), 10_000);
    }
    let again = sandbox.import(&file, &[]);
    assert!(said(&again).contains("0 new, 0 extended, 10000 unchanged, 0 refused"), "{}", said(&again));
    let expected = sandbox.exported();
    assert_eq!(rest.exported(), expected);
    rest = Sandbox::new();
    assert_eq!(rest.import(&file, &[]).status.code(), Some(0));
    assert_eq!(rest.exported(), expected, "as if it had never been killed");
}

/// Goal: a first load of many lines is there whole or not at all, and the same command redoes it. Method: kill -9 when all but the last
/// hundred lines are read; then a run to the end.
#[test]
fn a_killed_first_load_leaves_nothing_and_is_redone_by_the_same_command() {
    let sandbox = Sandbox::new();
    let file = sandbox.generated(16_500);
    let bytes = bytes_of(&file);
    let mut import = sandbox.import_from_pipe();
    let begun = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(16_400);
    feed(&mut import, &bytes[..begun.expect("it has more lines").0]);
    let loading = sandbox.folder().join("data/registry.loading");
    for _ in 0..1_200 {
        if loading.is_dir() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(loading.is_dir(), "it is under way");
    import.kill().and_then(|()| import.wait()).expect("it was running");
    assert_eq!(sandbox.subjects(), 0);
    assert!(!loading.exists(), "what it left is gone");
    let done = sandbox.import(&file, &[]);
    assert!(said(&done).contains("16500 new, 0 extended, 0 unchanged, 0 refused"), "{}", said(&done));
    assert_eq!(sandbox.subjects(), 16_500);
    let again = sandbox.import(&file, &[]);
    assert!(said(&again).contains("0 new, 0 extended, 16500 unchanged, 0 refused"), "{}", said(&again));
}

#[test]
fn ctrl_c_ends_an_import_cleanly_and_says_how_to_go_on() {
    let sandbox = Sandbox::new();
    let file = sandbox.generated(6_000);
    let bytes = bytes_of(&file);
    let mut import = sandbox.import_from_pipe();
    let half =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(5_000).expect("more lines").0 + 1;
    feed(&mut import, &bytes[..half]);
    sandbox.wait_until_settled();
    kill_process(Pid::from_child(&import), Signal::INT).expect("it is running");
    std::thread::sleep(Duration::from_millis(300));
    // What comes now wakes it, and is not read to its end.
    let pipe = import.stdin.as_mut().expect("its input is piped");
    let _broken = std::io::Write::write_all(pipe, &bytes[half..]);
    let done = import.wait_with_output().expect("it ends");
    assert_eq!(done.status.code(), Some(130), "{}", said(&done));
    let told = said(&done);
    assert!(
        told.contains("stopped by Ctrl-C; durable are: ") && told.contains("the same command again"),
        "{told}"
    );
    let held = sandbox.subjects();
    assert!((5_000..=6_000).contains(&held), "what was read whole is in: {held}");
    assert_eq!(sandbox.import(&file, &[]).status.code(), Some(0));
    assert_eq!(sandbox.subjects(), 6_000);
}

/// The same files through a running gateway: same encodings, same refusals, and nothing half-visible.
#[test]
fn a_running_gateway_takes_the_same_files() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let sandbox = Sandbox::new();
    let folder = text(&deployment.folder());
    let text_of =
        [line(NUMBER, &[issued()]), line(OTHER, &["{".to_owned()]), line(THIRD, &[issued()])].join("\n");
    let (encoded, ..) = encoding_rs::GB18030.encode(&text_of);
    let file = text(&sandbox.file("gb.ndjson", &encoded));
    let undeclared = sandbox.try_run(&["registry", "import", &file, "--dir", &folder]);
    assert_eq!(undeclared.status.code(), Some(1));
    assert!(said(&undeclared).contains("line 1 is not UTF-8"), "{}", said(&undeclared));
    let words = ["registry", "import", &file, "--dir", &folder, "--encoding", "gb18030"];
    for expected in ["2 new or extended, 0 unchanged, 1 refused", "0 new or extended, 2 unchanged, 1 refused"]
    {
        let done = sandbox.try_run(&words);
        assert_eq!(done.status.code(), Some(2));
        assert!(said(&done).contains(expected), "{}", said(&done));
        assert_shows_nothing(&done);
    }
    assert!(gateway.stop());
}
