//! Synthetic licences: a population that looks real and cannot be, and the fixed test drivers.
//!
//! Deterministic by seed and index, streaming, of any size: driver 49,999,999 is made without the others.

mod chance;
mod life;
mod person;
mod population;

pub use population::{POPULATION_MAX, Population, fixed_drivers};
