//! The registry's file under trouble: killed in the middle of a first load, a disk that is full, a backup while a gateway
//! serves, keys that are lost.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::harness::{BINARY, Deployment};

const COUNT: u64 = 40_000;

/// A folder laid out by default, without a configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> std::path::PathBuf {
        self.path().join("data")
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(BINARY).args(words).current_dir(self.path()).output().expect("the binary runs")
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn refused(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?} must fail");
        let told = String::from_utf8(output.stderr).expect("text");
        // As one line: where it is broken, and the bar beside it, depend on the terminal.
        told.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    }

    fn subjects(&self) -> u64 {
        let stats = self.done(&["registry", "stats", "--json"]);
        serde_json::from_str::<serde_json::Value>(&stats).expect("JSON")["subjects"]
            .as_u64()
            .expect("a count")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data()).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }
}

fn generate(count: u64) -> [String; 8] {
    ["registry", "generate", "--count", &count.to_string(), "--as-of", "2026-11-01", "--into", "."]
        .map(str::to_owned)
}

fn load(folder: &Folder) -> Child {
    Command::new(BINARY)
        .args(generate(COUNT))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs")
}

/// What a load has spilled and not yet taken in: files and bytes. What vanishes meanwhile counts as nothing.
fn spilled(folder: &Path) -> (usize, u64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return (0, 0) };
    let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len());
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}

/// Where a load stands when it is killed.
#[derive(Debug)]
enum Point {
    Sealing,
    Spilling,
    FillingNumbers,
    FillingRecords,
}

impl Point {
    fn is_reached(&self, (files, bytes): (usize, u64), most: usize) -> bool {
        match self {
            Self::Sealing => most > 0,
            Self::Spilling => bytes > 1_000_000,
            // Each file is removed when it is taken in: first those of the numbers, half of all.
            Self::FillingNumbers => most > 200 && files < most - most / 8,
            Self::FillingRecords => most > 200 && files < most / 3,
        }
    }
}

/// Goal: a first load that is killed leaves nothing half-visible, and the same command again makes it whole. Method: the
/// load is killed with SIGKILL at four points of its way, each seen by what lies in the folder by then.
#[test]
fn a_first_load_killed_in_the_middle_leaves_nothing_and_is_done_again() {
    let folder = Folder::new();
    let loading = folder.data().join("registry.loading");
    for point in [Point::Sealing, Point::Spilling, Point::FillingNumbers, Point::FillingRecords] {
        let mut child = load(&folder);
        let (began, mut most) = (Instant::now(), 0);
        loop {
            let seen = spilled(&loading);
            most = most.max(seen.0);
            if point.is_reached(seen, most) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(180), "the load never came to {point:?}");
            assert!(child.try_wait().expect("a child").is_none(), "the load was done before {point:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(loading.exists(), "{point:?}: it was in the middle");
        assert_eq!(folder.subjects(), 0, "{point:?}");
        assert_eq!(
            folder.names(),
            ["book.log", "book.redb", "registry.keys", "registry.redb"],
            "{point:?}: opening it cleaned up"
        );
    }
    folder.done(&generate(COUNT).each_ref().map(String::as_str));
    assert_eq!(folder.subjects(), COUNT);
    assert!(folder.done(&["registry", "verify"]).contains("sound"));
}

/// Goal: a disk that is full in the middle of a load is told, and nothing is half-visible. Method: the kernel refuses to
/// let any file grow beyond a limit, first while rows are spilled, then while the tables are filled; no root needed.
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_load_is_told() {
    for kibibytes in [8, 3_000] {
        let folder = Folder::new();
        folder.done(&generate(0).each_ref().map(String::as_str));
        let limited = Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "limited"])
            .args([&kibibytes.to_string(), BINARY])
            .args(generate(COUNT))
            .current_dir(folder.path())
            .output()
            .expect("bash runs");
        let told = String::from_utf8_lossy(&limited.stderr);
        assert!(!limited.status.success(), "{kibibytes} KiB must not be enough");
        assert!(told.contains("File too large"), "{kibibytes} KiB: {told}");
        assert_eq!(
            folder.names(),
            ["book.log", "book.redb", "registry.keys", "registry.redb"],
            "{kibibytes} KiB: nothing is left"
        );
        assert_eq!(folder.subjects(), 0, "{kibibytes} KiB");
        folder.done(&generate(COUNT).each_ref().map(String::as_str));
        assert_eq!(folder.subjects(), COUNT);
    }
}

/// The drill: back up while the gateway serves, lose the folder, restore with the keys.
#[test]
fn a_backup_made_while_the_gateway_serves_brings_everything_back() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let home = deployment.folder();
    let file = tempfile::tempdir().expect("a folder");
    let backup = file.path().join("registry.backup");
    let words = ["registry", "backup", home.to_str().expect("text"), "--to", backup.to_str().expect("text")];
    let made = deployment.try_run(&words);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains("from the gateway that is running"));
    let again = deployment.try_run(&words);
    assert!(!again.status.success(), "a backup is never overwritten");
    gateway.kill();

    let there = Folder::new();
    let backup = backup.to_str().expect("text");
    let restore = ["registry", "restore", backup, "--into", "."];
    std::fs::create_dir(there.data()).expect("a folder");
    assert!(there.refused(&restore).contains("there are no keys"));
    // Keys, but not those: as good as none.
    let stranger = Folder::new();
    stranger.done(&generate(0).each_ref().map(String::as_str));
    std::fs::copy(stranger.data().join("registry.keys"), there.data().join("registry.keys")).expect("a copy");
    assert!(there.refused(&restore).contains("keys are not those this backup was made with"));
    std::fs::copy(home.join("data/registry.keys"), there.data().join("registry.keys")).expect("a copy");
    assert!(there.done(&restore).contains("begins"));
    assert!(there.done(&["registry", "verify"]).contains("sound"));
    assert!(there.subjects() > 0);
    assert!(there.refused(&restore).contains("already a registry"));
    assert!(there.done(&["registry", "compact"]).contains("bytes now"));
    assert!(there.done(&["registry", "verify"]).contains("sound"));
}

/// A store whose key file is gone is not given another one.
#[test]
fn losing_the_key_file_is_losing_the_registry() {
    let folder = Folder::new();
    folder.done(&generate(10).each_ref().map(String::as_str));
    std::fs::remove_file(folder.data().join("registry.keys")).expect("it is there");
    for words in [
        vec!["registry", "stats"],
        vec!["registry", "verify"],
        vec!["registry", "backup", ".", "--to", "backup"],
    ] {
        assert!(folder.refused(&words).contains("restore the key file it was made with"), "{words:?}");
    }
    assert!(!folder.path().join("backup").exists() && !folder.path().join("backup.part").exists());
}
