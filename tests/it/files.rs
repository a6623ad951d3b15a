//! Given: files of licences, a registry to import them into, and what the binary says about it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::BINARY;

/// How long a file may stay as it is before nothing more is coming.
const QUIET: Duration = Duration::from_millis(1_500);
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sandbox without a single licence.
pub(crate) struct Sandbox {
    home: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { home: tempfile::tempdir().expect("a temporary folder") };
        sandbox.run(&["init", &text(&sandbox.folder())]);
        sandbox
    }

    /// The deployment's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("gateway")
    }

    /// A place beside it.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Prepares a command of the binary.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command, whatever comes of it.
    pub(crate) fn try_run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the binary runs")
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let done = self.try_run(words);
        assert!(done.status.success(), "{}: {}", words.join(" "), said(&done));
        String::from_utf8(done.stdout).expect("it prints text")
    }

    /// Runs a command with the largest file it may write, as on a disk that fills up.
    pub(crate) fn run_with_file_size_max(&self, kib: u64, words: &[&str]) -> Output {
        // The limit's signal is ignored, so that a write beyond it fails as on a full disk. `ulimit -f` counts in
        // blocks of 512 bytes (POSIX).
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
        let mut command = Command::new("dash");
        command.args(["-c", &script, BINARY]).args(words).current_dir(self.home.path());
        command.stdin(Stdio::null()).output().expect("dash runs")
    }

    /// Writes a file of generated licences.
    pub(crate) fn generated(&self, count: u32) -> PathBuf {
        let path = self.place(&format!("{count}.ndjson"));
        self.run(&[
            "registry",
            "generate",
            "--count",
            &count.to_string(),
            "--seed",
            "3",
            "--out",
            &text(&path),
        ]);
        path
    }

    /// Writes a file.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.place(name);
        fs::write(&path, bytes).expect("it can be written");
        path
    }

    /// Imports a file, whatever comes of it.
    pub(crate) fn import(&self, file: &Path, more: &[&str]) -> Output {
        let (file, folder) = (text(file), text(&self.folder()));
        let words = [&["registry", "import", &file, "--dir", &folder], more].concat();
        self.try_run(&words)
    }

    /// Starts an import of what is written to its standard input.
    pub(crate) fn import_from_pipe(&self) -> Child {
        let folder = text(&self.folder());
        let mut command = self.command(&["registry", "import", "-", "--dir", &folder]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    /// Counts what the registry holds.
    pub(crate) fn stats(&self) -> Value {
        let printed = self.run(&["registry", "stats", "--json", "--dir", &text(&self.folder())]);
        serde_json::from_str(&printed).expect("it prints JSON")
    }

    /// Returns how many subjects the registry holds; each must be readable.
    pub(crate) fn subjects(&self) -> u64 {
        let stats = self.stats();
        assert_eq!(stats["unreadable"], 0);
        stats["subjects"].as_u64().expect("a count")
    }

    /// Exports; returns the lines of licences.
    pub(crate) fn exported(&self) -> BTreeSet<String> {
        let printed = self.run(&["registry", "export", &text(&self.folder()), "--with-identifiers"]);
        licences(&printed)
    }

    /// Waits until an import has taken in what it was given, and waits for more.
    pub(crate) fn wait_until_settled(&self) {
        let store = self.folder().join("data/registry.redb");
        let state = || {
            let store = fs::metadata(&store).ok()?;
            Some((store.len(), store.modified().ok()?))
        };
        let (mut last, mut since) = (state(), Instant::now());
        let end = Instant::now() + PATIENCE;
        while last.is_none() || since.elapsed() < QUIET {
            assert!(Instant::now() < end, "the import does not settle");
            std::thread::sleep(Duration::from_millis(50));
            let now = state();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

/// Returns the lines of licences in an export.
pub(crate) fn licences(export: &str) -> BTreeSet<String> {
    let lines: Vec<_> = export.lines().collect();
    assert_eq!(lines[0], r#"{"drivegate-licences":1,"part":"begin"}"#);
    let end = format!(r#"{{"drivegate-licences":1,"part":"end","subjects":{}}}"#, lines.len() - 2);
    assert_eq!(lines[lines.len() - 1], end);
    let inner: BTreeSet<_> = lines[1..lines.len() - 1].iter().map(|line| (*line).to_owned()).collect();
    assert_eq!(inner.len(), lines.len() - 2, "no licence comes twice");
    inner
}

/// Gives a process lines on its standard input, and keeps that open.
pub(crate) fn feed(child: &mut Child, bytes: &[u8]) {
    let pipe = child.stdin.as_mut().expect("its input is piped");
    pipe.write_all(bytes).and_then(|()| pipe.flush()).expect("it reads");
}

/// Everything a command printed, unwrapped: messages are folded to the terminal's width.
pub(crate) fn said(done: &Output) -> String {
    let printed = [done.stdout.as_slice(), done.stderr.as_slice()].concat();
    let printed = String::from_utf8_lossy(&printed).replace(['│', '╰', '├', '─', '▶', '×'], " ");
    printed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a rejects file: lines and reasons.
pub(crate) fn rejects(path: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(path).expect("there is a rejects file");
    let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    parsed
        .map(|line| {
            let reason = line["reason"].as_str().expect("a reason");
            (line["line"].as_u64().expect("a line"), reason.to_owned())
        })
        .collect()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a temporary path is text").to_owned()
}

/// Reads a file's bytes.
pub(crate) fn bytes_of(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut File::open(path).expect("it is there"), &mut bytes)
        .expect("it can be read");
    bytes
}
