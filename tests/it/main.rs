//! The one integration binary. Modules are named after behaviours; the harness starts the real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "these are tests: a failure is a panic with its reason, and time is the machine's"
)]

mod architecture;
mod asks;
mod auditing;
mod auditor;
mod authority;
mod bad_input;
mod balanced;
mod canary;
mod catalogue;
mod collector;
mod compile_fail;
mod conformance;
mod deadline;
mod drivers;
mod durability;
mod export;
mod fail_closed;
mod files;
mod fishing;
mod harness;
mod history;
mod import;
mod known;
mod limits;
mod look_ups;
mod metrics;
mod operating;
mod order;
mod overload;
mod race;
mod readme;
mod receipts;
mod registry_store;
mod replicas;
mod retries;
mod sandbox;
mod search;
mod shared_limits;

#[allow(dead_code, reason = "a part of what the registry's own tests need")]
#[path = "../../src/registry/postgres/testing.rs"]
mod testing;

#[allow(dead_code, reason = "a part of what the cache's own tests need")]
#[path = "../../src/redis_link/testing.rs"]
mod redis_testing;
