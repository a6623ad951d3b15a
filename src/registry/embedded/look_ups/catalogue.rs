//! What the index holds of one log: how far it was read, and in which runs the look-ups lie.

use super::row::{ROW_BYTES, Row, Way};
use crate::registry::embedded::error::RegistryError;

/// The layout of the whole file. Another one is set aside and built anew.
const VERSION: u8 = 1;
/// Runs of a size that become one of the next.
pub(super) const FAN: usize = 16;
const DAMAGED: RegistryError = RegistryError::Damaged("a catalogue of look-ups");

/// What the index holds of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalogue {
    /// Its number in keys; never used twice while chunks of an earlier one are left.
    pub(super) log: u32,
    /// How many of its entries were read.
    pub(super) cursor: u64,
    /// The number of the next run.
    pub(super) next_run: u64,
    /// The runs that searches look at.
    pub(super) runs: Vec<Run>,
    /// Merges under way, at most one for each tier.
    pub(super) merges: Vec<Merge>,
}

/// A run: look-ups sorted in each of the three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) number: u64,
    /// How many look-ups it holds.
    pub(super) count: u64,
}

impl Run {
    /// Its size: runs of a tier hold less than [`FAN`] times what the smallest of them may hold.
    fn tier(self) -> u32 {
        self.count.max(1).ilog2() / FAN.ilog2()
    }
}

/// A merge under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Merge {
    /// Which run it makes; searches do not see it yet.
    pub(super) into: Run,
    pub(super) tier: u32,
    /// Which runs it takes.
    pub(super) from: Vec<u64>,
    /// Which way it is at, and the last row written of it.
    pub(super) way: Way,
    pub(super) after: Option<Row>,
}

impl Catalogue {
    /// Notes a new run.
    pub(super) fn begin_run(&mut self, count: u64) -> Run {
        let run = Run { number: self.next_run, count };
        self.next_run += 1;
        run
    }

    /// Begins a merge for every tier that has runs enough and none under way.
    pub(super) fn begin_merges(&mut self) {
        let tiers = self.runs.iter().map(|run| run.tier()).max().map_or(0, |tier| tier + 1);
        for tier in 0..tiers {
            if self.merges.iter().any(|merge| merge.tier == tier) {
                continue;
            }
            let runs = self.runs.iter().filter(|run| run.tier() == tier);
            let from: Vec<Run> = runs.take(FAN).copied().collect();
            if from.len() < FAN {
                continue;
            }
            let into = self.begin_run(from.iter().map(|run| run.count).sum());
            let from = from.iter().map(|run| run.number).collect();
            self.merges.push(Merge { into, tier, from, way: Way::Subject, after: None });
        }
    }

    /// Returns the merge to go on with: that of the smallest runs, which become too many first.
    pub(super) fn merge_due(&self) -> Option<usize> {
        let merges = self.merges.iter().enumerate();
        merges.min_by_key(|(_, merge)| merge.tier).map(|(index, _)| index)
    }

    /// Every run that has chunks, seen or not.
    pub(super) fn all_runs(&self) -> impl Iterator<Item = u64> + '_ {
        let seen = self.runs.iter().map(|run| run.number);
        seen.chain(self.merges.iter().map(|merge| merge.into.number))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.log.to_be_bytes());
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_be_bytes());
        put(self.cursor);
        put(self.next_run);
        put(self.runs.len() as u64);
        for run in &self.runs {
            put(run.number);
            put(run.count);
        }
        put(self.merges.len() as u64);
        for merge in &self.merges {
            for number in [merge.into.number, merge.into.count, u64::from(merge.tier)] {
                put(number);
            }
            put(merge.from.len() as u64);
            merge.from.iter().for_each(|number| put(*number));
            put(u64::from(merge.way.code()));
            put(u64::from(merge.after.is_some()));
            let after = merge.after.unwrap_or(Row::FIRST).to_bytes();
            after.as_chunks::<8>().0.iter().for_each(|eight| put(u64::from_be_bytes(*eight)));
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RegistryError> {
        let (version, rest) = bytes.split_first().ok_or(DAMAGED)?;
        let (log, mut rest) = rest.split_first_chunk().ok_or(DAMAGED)?;
        if *version != VERSION {
            return Err(DAMAGED);
        }
        let rest = &mut rest;
        let mut catalogue = Self {
            log: u32::from_be_bytes(*log),
            cursor: take(rest)?,
            next_run: take(rest)?,
            ..Self::default()
        };
        for _ in 0..take(rest)? {
            catalogue.runs.push(Run { number: take(rest)?, count: take(rest)? });
        }
        for _ in 0..take(rest)? {
            catalogue.merges.push(merge(rest)?);
        }
        if rest.is_empty() { Ok(catalogue) } else { Err(DAMAGED) }
    }
}

fn merge(rest: &mut &[u8]) -> Result<Merge, RegistryError> {
    let into = Run { number: take(rest)?, count: take(rest)? };
    let tier = u32::try_from(take(rest)?).map_err(|_| DAMAGED)?;
    let mut from = Vec::new();
    for _ in 0..take(rest)? {
        from.push(take(rest)?);
    }
    let way = u8::try_from(take(rest)?).ok().and_then(Way::from_code).ok_or(DAMAGED)?;
    let is_begun = take(rest)? == 1;
    let (row, behind) = rest.split_first_chunk::<ROW_BYTES>().ok_or(DAMAGED)?;
    *rest = behind;
    Ok(Merge { into, tier, from, way, after: is_begun.then(|| Row::from_bytes(row)) })
}

fn take(rest: &mut &[u8]) -> Result<u64, RegistryError> {
    let (number, behind) = rest.split_first_chunk().ok_or(DAMAGED)?;
    *rest = behind;
    Ok(u64::from_be_bytes(*number))
}
