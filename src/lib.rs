//! drivegate: an organisation checks a driver's qualification online without seeing the driver's record.

pub mod admin;
pub mod admission;
pub mod app;
pub mod audit;
pub mod cache;
pub mod cli;
pub mod config;
pub mod design;
pub mod domain;
pub mod evidence;
pub mod gateway;
pub mod hashing;
pub mod identity;
pub mod intake;
pub mod issuing;
pub mod limits;
pub mod redis_link;
pub mod registry;
pub mod retries;
pub mod telemetry;
pub mod tokens;
pub mod verification;
pub mod waking;
