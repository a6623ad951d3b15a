//! What must not compile does not compile, and for the reason that was meant.
//!
//! Method: each file of `tests/ui` is compiled by `rustc` against the library this test is linked with, and must
//! fail with exactly the error codes its first lines name. `trybuild` would check every dependency a second time in a
//! target folder of its own, which costs minutes; this costs half a second a file. `control.rs` must compile: without
//! it, a broken set-up would look like success.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The file that compiles.
const CONTROL: &str = "control.rs";

#[test]
fn the_control_compiles() {
    let house = House::found();
    let outcome = house.compile(&house.ui.join(CONTROL));
    assert!(outcome.compiled, "{}", outcome.said);
}

#[test]
fn what_must_not_compile_fails_for_the_reason_it_names() {
    let house = House::found();
    let mut faults = Vec::new();
    for file in house.cases() {
        let text = fs::read_to_string(&file).expect("the case can be read");
        let expected: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("//! error ")).collect();
        assert!(!expected.is_empty(), "{} does not say which error it expects", file.display());
        let outcome = house.compile(&file);
        let found = codes_in(&outcome.said);
        if outcome.compiled || found != expected {
            faults.push(format!("{}: expected {expected:?}\n{}", file.display(), outcome.said));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
}

/// Finds the error codes rustc names.
fn codes_in(said: &str) -> BTreeSet<&str> {
    let codes = said.lines().filter_map(|line| line.strip_prefix("error[")?.split_once(']'));
    codes.map(|(code, _)| code).collect()
}

/// Where the library and the cases are.
struct House {
    ui: PathBuf,
    deps: PathBuf,
    library: PathBuf,
}

/// What rustc did.
struct Outcome {
    compiled: bool,
    said: String,
}

impl House {
    /// Finds the library beside this test: the youngest one was built with it.
    fn found() -> Self {
        let this = std::env::current_exe().expect("a test is a file");
        let deps = this.parent().expect("in a folder").to_path_buf();
        let is_library = |name: &str| name.starts_with("libdrivegate-") && name.ends_with(".rlib");
        let entries = fs::read_dir(&deps).expect("the folder can be read").flatten();
        let libraries = entries.filter(|entry| is_library(&entry.file_name().to_string_lossy()));
        let age = |entry: &fs::DirEntry| {
            entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let library = libraries.max_by_key(age).expect("the library was built for this test").path();
        Self { ui: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui"), deps, library }
    }

    /// Returns every case but the control.
    fn cases(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.ui).expect("tests/ui can be read").flatten();
        let mut cases: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        cases.retain(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with(CONTROL));
        cases.sort();
        assert!(!cases.is_empty(), "tests/ui is empty");
        cases
    }

    fn compile(&self, file: &Path) -> Outcome {
        let out = tempfile::tempdir().expect("a folder for what comes out");
        let mut library = OsString::from("drivegate=");
        library.push(&self.library);
        let mut search = OsString::from("dependency=");
        search.push(&self.deps);
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let done = Command::new(rustc)
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--cap-lints=warn", "--out-dir"])
            .arg(out.path())
            .arg("--extern")
            .arg(library)
            .arg("-L")
            .arg(search)
            .arg(file)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("rustc runs");
        Outcome { compiled: done.status.success(), said: String::from_utf8_lossy(&done.stderr).into_owned() }
    }
}
