//! Synthetic licences: a population that looks real and cannot be, and the fixed test drivers.
//!
//! Deterministic by seed and index, streaming, of any size: driver 49,999,999 is made without the others. How often things
//! happen stands in `tables`, where the figures come from in `docs/population.md`.

mod calendar;
mod career;
mod chance;
mod conduct;
#[cfg(test)]
mod distribution;
mod e_licence;
mod life;
mod moves;
mod numbers;
mod person;
mod population;
#[cfg(test)]
mod possible;
mod tables;
mod validity;

pub use numbers::POPULATION_MAX;
pub use population::{Population, fixed_drivers};
