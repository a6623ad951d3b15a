//! How large the worlds are that are walked through.

use crate::flaw::Flaw;

/// The freshness bound, in ticks. One tick is enough to be late, and every finer order within a tick is walked through anyway.
pub(crate) const BOUND: u8 = 1;

/// A bounded world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// The registry lives in the process (`Watermark::InProcess`); else its feed is tailed.
    pub(crate) embedded: bool,
    pub(crate) replicas: usize,
    /// The first level; without it only the second one keeps facts.
    pub(crate) in_process: bool,
    /// Redis holds everything anybody ever read on any server, as if there were any number of replicas.
    pub(crate) strangers: bool,
    pub(crate) standby: bool,
    /// Questions that go past the caches.
    pub(crate) bypass: bool,
    /// It may begin with a number that nobody has.
    pub(crate) newcomer: bool,
    pub(crate) changes: u8,
    pub(crate) promotions: u8,
    pub(crate) restores: u8,
    pub(crate) restarts: u8,
    /// The rule that is missing.
    pub(crate) flaw: Option<Flaw>,
}

const QUIET: Scene = Scene {
    name: "",
    embedded: false,
    replicas: 1,
    in_process: true,
    strangers: false,
    standby: false,
    bypass: true,
    newcomer: true,
    changes: 2,
    promotions: 0,
    restores: 0,
    restarts: 0,
    flaw: None,
};

/// Redis stands for every other replica, and for the in-process level, which holds nothing Redis never held.
const CROWDED: Scene = Scene { strangers: true, in_process: false, standby: true, newcomer: false, ..QUIET };

/// The worlds in which the protocol must hold.
pub(crate) const SCENES: [Scene; 6] = [
    Scene { name: "registry in process", embedded: true, bypass: false, changes: 4, ..QUIET },
    Scene { name: "one primary", ..QUIET },
    Scene {
        name: "two replicas, one Redis",
        replicas: 2,
        changes: 1,
        in_process: false,
        bypass: false,
        newcomer: false,
        ..QUIET
    },
    Scene { name: "any number of replicas, restarts", newcomer: true, restarts: 1, ..CROWDED },
    Scene { name: "promotion", promotions: 1, ..CROWDED },
    Scene { name: "promotion and restore", promotions: 1, restores: 1, bypass: false, ..CROWDED },
];

/// The world in which a missing rule is looked for.
pub(crate) fn scene_of(flaw: Flaw) -> Scene {
    let scene = match flaw {
        Flaw::AcknowledgedBeforeSlots => Scene { embedded: true, bypass: false, ..QUIET },
        Flaw::FillRace
        | Flaw::SlotsBeforeWatermark
        | Flaw::PublishedBeforeSlots
        | Flaw::PollTimedAtEnd
        | Flaw::PositionReadLater
        | Flaw::HomeNotTold
        | Flaw::SeqWithoutLock
        | Flaw::BypassTimedAtEnd
        | Flaw::AgeFromJudgement
        | Flaw::NoLastCheck => QUIET,
        Flaw::TailOnStandby | Flaw::BypassOnStandby => Scene { standby: true, ..QUIET },
        Flaw::NoToldFrom => Scene { restarts: 1, ..CROWDED },
        Flaw::NoNewEpoch | Flaw::OldPrimaryAlive => Scene { promotions: 1, ..CROWDED },
        Flaw::EpochNumberedByCopy => Scene { promotions: 1, restores: 1, bypass: false, ..CROWDED },
    };
    Scene { flaw: Some(flaw), ..scene }
}
