//! The README is true: its configuration loads, its commands exist, its files are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::harness::Deployment;

/// What `verify` can ask: commands of its own.
const QUESTIONS: [&str; 9] = [
    "rental",
    "insurance-claim",
    "insurance-purchase",
    "recruitment",
    "transport",
    "enforcement",
    "peer-scan",
    "contract",
    "limits",
];

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("the README can be read")
}

/// Returns the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == format!("```{language}") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            found.push(block.join("\n"));
        }
    }
    found
}

/// The first TOML block is the example configuration: it replaces the one `init` wrote, and `check` accepts it.
#[test]
fn the_example_configuration_loads() {
    let deployment = Deployment::new();
    let example = blocks(&readme(), "toml").into_iter().next().expect("the README shows a configuration");
    let folder = deployment.folder();
    fs::write(folder.join("config.toml"), example).expect("it can be written");
    deployment.run(&["check", "--config", folder.join("config.toml").to_str().expect("text")]);
}

/// The second TOML block is the example contract: it takes the place of the rental desk's.
#[test]
fn the_example_contract_loads() {
    let deployment = Deployment::new();
    let example = blocks(&readme(), "toml").into_iter().nth(1).expect("the README shows a contract");
    let folder = deployment.folder();
    fs::write(folder.join("partners/rental-demo.toml"), example).expect("it can be written");
    deployment.run(&["check", "--config", folder.join("config.toml").to_str().expect("text")]);
}

/// The Rust block stands in `examples/verify.rs`, which the compiler and clippy read, word for word.
#[test]
fn the_call_in_rust_is_the_examples() {
    let block = blocks(&readme(), "rust").into_iter().next().expect("the README shows a call in Rust");
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify.rs"))
        .expect("the example can be read");
    let indented: Vec<String> = block.lines().map(|line| format!("    {line}")).collect();
    assert!(example.contains(&indented.join("\n")), "examples/verify.rs does not hold the README's block");
}

/// Every `drivegate …` of a shell block names a command that has a help text, and options which that text knows.
#[test]
fn the_commands_exist_with_their_options() {
    let deployment = Deployment::new();
    let shell = blocks(&readme(), "sh").join("\n").replace("\\\n", " ");
    let mut seen = BTreeSet::new();
    for line in shell.lines() {
        let line =
            line.split(" #").next().unwrap_or_default().replace("cargo run --release -- ", "drivegate ");
        let Some((_, call)) = line.split_once("drivegate ") else { continue };
        let words: Vec<&str> =
            call.split_whitespace().take_while(|word| !["|", "&", "&&", ">", "<"].contains(word)).collect();
        let is_name =
            |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
        let depth = match words.as_slice() {
            ["registry", "quarantine", ..] => 3,
            ["registry" | "partner" | "hold" | "pki" | "authority" | "audit" | "receipt" | "log", ..] => 2,
            _ => 1,
        };
        let names: Vec<&str> = words.iter().take(depth).take_while(is_name).copied().collect();
        let help = deployment.run(&[names.as_slice(), &["--help"]].concat());
        let mut help = String::from_utf8_lossy(&help.stdout).into_owned();
        for question in words.iter().filter(|word| names == ["verify"] && QUESTIONS.contains(word)) {
            help += &String::from_utf8_lossy(&deployment.run(&["verify", question, "--help"]).stdout);
        }
        for option in words.iter().filter(|word| word.starts_with("--")) {
            let option = option.split('=').next().unwrap_or_default();
            assert!(help.contains(option), "`drivegate {}` does not know {option}", names.join(" "));
        }
        seen.insert(names.join(" "));
    }
    for needed in [
        "demo",
        "init",
        "serve",
        "check",
        "verify",
        "present",
        "load",
        "registry generate",
        "partner suspend",
        "hold list",
        "authority apply",
        "audit fsck",
        "receipt get",
        "receipt verify",
    ] {
        assert!(seen.contains(needed), "the README does not show `drivegate {needed}`; it shows {seen:?}");
    }
}

/// Every relative link leads to a file.
#[test]
fn the_files_it_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = readme();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
        let path = target.split('#').next().unwrap_or_default();
        assert!(root.join(path).exists(), "the README links to {path}, which is not there");
    }
}

/// The map of the rooms names every folder under `src`.
#[test]
fn the_map_names_every_room() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = readme();
    for entry in
        fs::read_dir(source).expect("src can be read").flatten().filter(|entry| entry.path().is_dir())
    {
        let room = entry.file_name().to_string_lossy().into_owned();
        assert!(text.contains(&format!("src/{room}/")), "the README's map lacks src/{room}/");
    }
}
