//! Randomness of the system.

use crate::issuing::ports::{NoRandomness, Randomness};

/// The system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        aws_lc_rs::rand::fill(bytes).map_err(|_unspecified| NoRandomness)
    }
}
