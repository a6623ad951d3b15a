//! Limits of a deployment of several replicas: slices of a partner's meters, leased from Redis ahead of need.
//!
//! No request waits for Redis. Each replica spends from plain counters; a task of its own ([`keeper`]) makes the calls. One Lua script
//! (`script.lua`, on the server's clock) keeps one hash per partner with a row per replica.
//!
//! **Windows** (minute, hour, day). A replica has a *cap*: the most answers it may ever give in a window without another word. Its row holds
//! a cap too. Three rules make the sum hold:
//! 1. A replica lowers its cap only before a call, and says in the call what it has. A reply raises it to what the row says, if it
//!    answers the last call; any other reply is ignored. So **no replica's cap is above its row's**, whatever is lost or late: a call carries
//!    a serial, and the script ignores one older than the row.
//! 2. The script sets a row to the caller's word plus a grant, and grants no more than the limit less all caps. So **the rows' sum is at most
//!    the limit**.
//! 3. A window that opens is divided evenly without a word, and the script counts so much for every row of an earlier window. A share is
//!    at least one: that is the whole over-admission, at most one answer per replica and window.
//!
//! What is granted is the slice and the share for the time without Redis in one: what remains of the window, divided by `replicas_max`. So
//! a replica that hears nothing any more needs no other rule: it goes on up to its cap.
//!
//! **Rate**. A bucket (the burst, refilled at the rate) of which tokens are leased under the same rules; the script fills it to at most the
//! burst less what the rows hold. governor stays the ceiling of the one replica. A replica that hears nothing makes up tokens, the
//! rate divided by `replicas_max`; they raise its cap, so that its next call owes them.
//!
//! **Pause**: nobody called for longer than replicas may stay silent. Nothing is leased for a second, in which every replica tells its row
//! anew; one that does not may have died after it gave all it could, and counts so. The bucket begins empty, for replicas made up the
//! rate themselves and may hold all of the burst.
//!
//! **Loss**: an empty key, another run of a server (a restart, a failover that may have lost writes), a clock that stepped back, a row
//! behind what its replica knows to have told. All rows are forgotten and nothing is leased for a second, in which every replica calls
//! (at least every [`IDLE_PAUSE`]) and tells its row anew. Each also tells what the *others* had spent when it last heard; Redis
//! keeps the larger, so that what the dead have spent is not given again. Unknown stays only what was spent since those last
//! calls by a replica that died before it could tell.
//!
//! **What is not promised**. A replica silent for 15 s is taken for dead, and what it held is leased to others, less a second's worth that it may
//! have spent. One that lives, alone cut off from a Redis the others reach, may give what it holds on top. So may one that *starts*
//! while Redis is away: it begins with its share.
//!
//! Redis is not trusted beyond this: a reply never entitles to more than the contract; its clock turns windows only while it is within
//! five seconds of this machine's; and what cannot be a state or a row, whatever wrote it, counts as lost.

mod keeper;
mod message;
mod partner;
mod script;
mod tokens;

#[cfg(test)]
mod redis_tests;
#[cfg(test)]
mod simulation_tests;

pub use keeper::{LeaseObserver, LeaseOutcome, LimitLeases};
pub(super) use message::{Ask, Granted, Reply, Tally, WindowGrant};
pub(super) use partner::{Lease, News, share};

use std::time::Duration;

/// The shortest time between two calls for one partner: what is wanted comes that late at worst.
const WANTED_PAUSE: Duration = Duration::from_millis(20);
/// The time between two calls while somebody spends.
const MOVING_PAUSE: Duration = Duration::from_millis(100);
/// The longest time between two calls: shorter than the second in which everybody must report.
const IDLE_PAUSE: Duration = Duration::from_millis(400);
/// How long one call may take. A slower Redis is away.
const CALL_MAX: Duration = Duration::from_millis(250);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// The pause before connecting again: from … to. What was alone must be heard within the second in which nothing is leased.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How long a replica that starts waits for a first reply before it begins with its share.
const STARTING_MAX: Duration = Duration::from_secs(1);
/// How long it waits in all if Redis answers, but leases nothing: longer than a loss takes to mend.
const STARTING_HELD_MAX: Duration = Duration::from_secs(3);
/// A Cluster that did not answer a single call for so long is connected to anew; until then it is left to bring its nodes back itself.
const CLUSTER_SILENT_MAX: Duration = Duration::from_secs(1);
/// Nodes of a Cluster that did not answer for so long, while others did, may have been replaced: it is connected to anew.
const NODE_SILENT_MAX: Duration = Duration::from_secs(2);
/// What is added to the serial when Redis claims to know a later one: what it has is nonsense, and a few replies further it is behind.
const LATE_SERIALS: u64 = 1 << 30;
