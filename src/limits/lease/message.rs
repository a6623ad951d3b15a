//! What a replica and Redis tell each other about one partner.

/// The largest count sent: beyond it the script's numbers are no longer exact.
const COUNT_MAX: u64 = 1 << 52;

/// One window as the replica has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Tally {
    /// The contract's limit.
    pub(in crate::limits) limit: u64,
    /// When the window opened, in seconds of Unix time.
    pub(in crate::limits) starts_at: i64,
    /// The most the replica may give; `None`: its share of a window that opened since it last heard.
    pub(in crate::limits) entitled: Option<u64>,
    /// What it has given.
    pub(in crate::limits) spent: u64,
    /// What the others had given when it last heard: Redis may have forgotten.
    pub(in crate::limits) elsewhere: u64,
}

/// A replica's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Ask {
    pub(super) serial: u64,
    /// The last serial whose reply arrived; 0: none.
    pub(super) known: u64,
    pub(super) replicas_max: u32,
    pub(in crate::limits) is_leaving: bool,
    pub(super) rate_per_second: u32,
    pub(super) bucket: u64,
    pub(super) entitled: u64,
    pub(super) spent: u64,
    pub(super) wants_tokens: bool,
    pub(super) windows: [Tally; 3],
    pub(super) wants_answers: bool,
}

impl Ask {
    /// Writes the script's arguments but the first, the replica's name.
    pub(super) fn arguments(&self) -> Vec<i64> {
        let count = |count: u64| i64::try_from(count.min(COUNT_MAX)).unwrap_or(i64::MAX);
        let mut arguments = Vec::with_capacity(25);
        arguments.extend([
            count(self.serial),
            count(self.known),
            self.replicas_max.into(),
            self.is_leaving.into(),
            self.rate_per_second.into(),
            count(self.bucket),
            count(self.entitled),
            count(self.spent),
            self.wants_tokens.into(),
        ]);
        for tally in &self.windows {
            let entitled = tally.entitled.map_or(-1, count);
            let given = [count(tally.spent), count(tally.elsewhere)];
            arguments.extend([count(tally.limit), tally.starts_at, entitled]);
            arguments.extend(given);
        }
        arguments.push(self.wants_answers.into());
        arguments
    }
}

/// Redis' reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) enum Reply {
    /// Slices.
    Leased(Granted),
    /// Nothing is leased yet: everybody must report first.
    Held {
        /// The server's clock, in microseconds of Unix time.
        now_us: i64,
    },
    /// A later call was there before: nothing was done.
    Late,
    /// The replica has left.
    Left,
}

/// What a replica may spend from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Granted {
    /// The server's clock, in microseconds of Unix time.
    pub(in crate::limits) now_us: i64,
    /// Tokens nobody holds.
    pub(super) level: u64,
    /// Tokens, all that were ever leased to this replica.
    pub(super) entitled: u64,
    pub(in crate::limits) windows: [WindowGrant; 3],
}

/// What it may give in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct WindowGrant {
    /// When the window opened, in seconds of Unix time.
    pub(in crate::limits) starts_at: i64,
    /// The most the replica may give, what it has given included; `None`: it spoke of another window.
    pub(in crate::limits) entitled: Option<u64>,
    /// What the others have given.
    pub(in crate::limits) elsewhere: u64,
}

impl Reply {
    /// Reads a reply. `None`: Redis said something else; nothing may follow from it.
    pub(super) fn read(numbers: &[i64]) -> Option<Self> {
        let count = |number: i64| u64::try_from(number).ok();
        match *numbers {
            [-1] => Some(Self::Late),
            [0, now_us] => Some(Self::Held { now_us }),
            [2, _] => Some(Self::Left),
            [1, now_us, level, entitled, ref windows @ ..] if windows.len() == 9 => {
                let mut grants = [WindowGrant { starts_at: 0, entitled: None, elsewhere: 0 }; 3];
                for (grant, told) in grants.iter_mut().zip(windows.chunks_exact(3)) {
                    *grant = WindowGrant {
                        starts_at: told[0],
                        entitled: if told[1] == -1 { None } else { Some(count(told[1])?) },
                        elsewhere: count(told[2])?,
                    };
                }
                let (level, entitled) = (count(level)?, count(entitled)?);
                Some(Self::Leased(Granted { now_us, level, entitled, windows: grants }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_script_says_is_a_reply() {
        assert_eq!(Reply::read(&[-1]), Some(Reply::Late));
        assert_eq!(Reply::read(&[0, 5]), Some(Reply::Held { now_us: 5 }));
        assert_eq!(Reply::read(&[2, 5]), Some(Reply::Left));
        let whole = [1, 5, 6, 7, 60, 10, 1, 3600, 20, 2, 86_400, 30, 3];
        let Some(Reply::Leased(granted)) = Reply::read(&whole) else { panic!("slices") };
        assert_eq!((granted.now_us, granted.level, granted.entitled), (5, 6, 7));
        let day = WindowGrant { starts_at: 86_400, entitled: Some(30), elsewhere: 3 };
        assert_eq!(granted.windows[2], day);
        for length in 0..whole.len() {
            let is_short = !matches!(Reply::read(&whole[..length]), Some(Reply::Leased(_)));
            assert!(is_short, "{length}");
        }
        for index in [2, 3, 5, 6, 8, 9, 11, 12] {
            let mut negative = whole;
            negative[index] = -2;
            assert_eq!(Reply::read(&negative), None, "{index}");
        }
        assert_eq!(Reply::read(&[3, 5]), None);
    }

    #[test]
    fn counts_beyond_what_the_script_can_hold_are_cut() {
        let tally = Tally { limit: u64::MAX, starts_at: -60, entitled: None, spent: 2, elsewhere: 5 };
        let ask = Ask {
            serial: 3,
            known: 2,
            replicas_max: 4,
            is_leaving: false,
            rate_per_second: 10,
            bucket: 20,
            entitled: 8,
            spent: 7,
            wants_tokens: true,
            windows: [tally; 3],
            wants_answers: false,
        };
        let arguments = ask.arguments();
        assert_eq!(arguments[..9], [3, 2, 4, 0, 10, 20, 8, 7, 1]);
        assert_eq!(arguments[9..14], [1 << 52, -60, -1, 2, 5]);
        assert_eq!((arguments.len(), arguments[24]), (25, 0));
    }
}
