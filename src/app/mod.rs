//! The one place where everything is wired; start-up and drain.
//!
//! May know: every room. Must not know: nobody's inside.

mod backup;
mod bridges;
mod calls;
mod chunks;
mod claims;
mod clock;
mod disk;
mod error;
mod export;
mod gateway;
mod hold_backs;
mod intake;
mod leases;
mod listeners;
mod logs;
mod monitor;
mod names;
mod operator;
mod overload;
mod probe;
mod process;
mod redis;
mod registry;
mod retries;
mod secrets;
mod standing;
mod tokens;
mod wallet;
mod witness;

pub use calls::start_logging;
pub use clock::SystemClock;
pub use error::StartError;
pub use gateway::{RunningGateway, identity_files};
pub use logs::serve_folder;
pub use process::harden;
pub use redis::{look_at_redis, redis_address};
pub use registry::{postgres_keys, postgres_options};
pub use tokens::{Tokens, look_at_token_keys, open_tokens};
pub use witness::{Looked, RunningWitness};
