//! The freshness protocol as a specification that a machine can check. It says why it holds in `src/design/freshness.md`; here every
//! order in which its steps can come is walked through, in small worlds: the authority's changes, a server that is lost, promoted
//! or restored, a standby that lags, replicas that sleep or restart, two levels of caches, and a Redis that loses, keeps and reorders.
//!
//! The invariant: no answer leaves that was last true longer ago than the bound, counted from the acknowledgement of the change that
//! ended it. So no "valid" leaves later than the bound after a revocation was acknowledged, and no "no such number" after an issue.
//!
//! And the same for protocols that lack one rule each (`flaw`): there the checker must find an answer that breaks the invariant. A rule
//! whose absence nobody notices would be no rule, or the model would not be of this protocol.
//!
//! Read in this order: `world` (the registry), `replica` (the rules, each with the name of the function it stands for), `model` (what may
//! happen next), `scene` (how large the worlds are), `flaw`.
//!
//! ```text
//! cargo run --release --manifest-path tests/freshness-model/Cargo.toml              everything; exit 1 if anything is not as it must be
//! cargo run --release --manifest-path tests/freshness-model/Cargo.toml -- FillRace  how that flaw shows, step by step
//! ```

#![allow(clippy::disallowed_methods, reason = "how long a walk took is said in the machine's time")]

mod flaw;
mod model;
mod replica;
mod scene;
mod world;

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::flaw::Flaw;
use crate::model::FRESH;
use crate::scene::{SCENES, Scene, scene_of};

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let is_right = match named.as_slice() {
        [] => {
            let holds = SCENES.into_iter().filter(|scene| !holds(*scene)).count() == 0;
            let found = Flaw::ALL.into_iter().filter(|flaw| !is_found(*flaw)).count() == 0;
            holds && found
        }
        [name] => match Flaw::ALL.into_iter().find(|flaw| format!("{flaw:?}") == *name) {
            Some(flaw) => show(flaw),
            None => {
                eprintln!("there is no flaw \"{name}\"; there are {:?}", Flaw::ALL);
                false
            }
        },
        _ => {
            eprintln!("usage: drivegate-freshness-model [FLAW]");
            false
        }
    };
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Walks through a whole world. Everything must hold, and everything that makes the walk worth something must happen.
fn holds(scene: Scene) -> bool {
    let began = Instant::now();
    let checker = scene.checker().threads(threads()).spawn_bfs().join();
    let broken: Vec<_> = scene
        .properties()
        .iter()
        .filter(|property| (property.name == FRESH) == checker.discovery(property.name).is_some())
        .map(|property| property.name)
        .collect();
    let verdict = if broken.is_empty() { "holds" } else { "BROKEN" };
    let (states, depth, seconds) =
        (checker.unique_state_count(), checker.max_depth(), began.elapsed().as_secs_f32());
    println!("{verdict:8} {:34} {states:>9} states, {depth:>3} steps deep, {seconds:.1} s", scene.name);
    for name in &broken {
        println!("         not so: {name}");
        if let Some(path) = checker.discovery(name) {
            println!("{:#?}", path.into_actions());
        }
    }
    broken.is_empty()
}

/// Walks through the world of a flaw until it shows.
fn is_found(flaw: Flaw) -> bool {
    let began = Instant::now();
    let checker = hunt(flaw, threads());
    let found = checker.discovery(FRESH);
    let verdict = if found.is_some() { "found" } else { "MISSED" };
    let (states, seconds) = (checker.unique_state_count(), began.elapsed().as_secs_f32());
    let steps = found.map_or(0, |path| path.into_actions().len());
    println!(
        "{verdict:8} {:34} {states:>9} states, {steps:>3} steps to it, {seconds:.1} s",
        format!("{flaw:?}")
    );
    verdict == "found"
}

/// Prints the shortest way to a stale answer.
fn show(flaw: Flaw) -> bool {
    let Some(path) = hunt(flaw, 1).discovery(FRESH) else { return false };
    for step in path.into_actions() {
        println!("{step:?}");
    }
    true
}

fn hunt(flaw: Flaw, threads: usize) -> impl Checker<Scene> {
    scene_of(flaw).checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}
