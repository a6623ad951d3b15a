//! The folder of contracts, with the last good reading of every file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PartnerSlot;
use crate::config::partner::{self, ContractFileError};
use crate::domain::partner::PeerName;
use crate::identity::files::is_toml;

/// The folder as last read.
pub(super) struct Folder {
    path: PathBuf,
    /// By file: the contract in force.
    slots: BTreeMap<PathBuf, Arc<PartnerSlot>>,
    faults: Vec<String>,
}

/// One reading of a file.
struct Reading {
    slot: Arc<PartnerSlot>,
    /// Differs from what is in force: the first to give way when two files claim one identity.
    fresh: bool,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), slots: BTreeMap::new(), faults: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Arc<PartnerSlot>> {
        self.slots.values()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.clone()
    }

    /// Reads all files; says whether anything in force changed.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let files = contract_files(&self.path).inspect_err(|error| {
            self.faults = vec![format!(
                "cannot read the folder of contracts {}: {error}; what is known stays in force",
                self.path.display()
            )];
        })?;
        self.faults.clear();
        let mut readings: BTreeMap<_, _> =
            files.into_iter().filter_map(|file| Some((file.clone(), self.read_file(&file)?))).collect();
        self.settle_claims(&mut readings);
        let slots = readings.into_iter().map(|(file, reading)| (file, reading.slot)).collect();
        let changed = self.slots != slots;
        self.slots = slots;
        Ok(changed)
    }

    fn read_file(&mut self, file: &Path) -> Option<Reading> {
        let last_good = self.slots.get(file).cloned();
        match partner::read(file) {
            Ok(read) => {
                let slot = PartnerSlot { contract: Arc::new(read.contract), suspended: read.suspended };
                Some(match last_good.filter(|good| **good == slot) {
                    Some(good) => Reading { slot: good, fresh: false },
                    None => Reading { slot: Arc::new(slot), fresh: true },
                })
            }
            Err(error) => {
                self.blame(&error, last_good.is_some());
                last_good.map(|slot| Reading { slot, fresh: false })
            }
        }
    }

    fn blame(&mut self, error: &ContractFileError, kept: bool) {
        let effect = if kept { "its last good contract stays in force" } else { "its partner cannot call" };
        self.faults.push(format!("{error}; {effect}"));
    }

    /// Lets no identity belong to two contracts: the file that changed gives way to its last good contract, or leaves.
    ///
    /// Every round makes a fresh file old or removes one, so it ends.
    fn settle_claims(&mut self, readings: &mut BTreeMap<PathBuf, Reading>) {
        while let Some(claimants) = contested(readings) {
            let fresh = claimants.iter().any(|file| readings[file].fresh);
            for file in &claimants {
                if fresh && !readings[file].fresh {
                    continue;
                }
                let others: Vec<_> = claimants
                    .iter()
                    .filter(|other| *other != file)
                    .map(|o| o.display().to_string())
                    .collect();
                let last_good = self.slots.get(file).filter(|_| readings[file].fresh).cloned();
                let effect = match last_good {
                    Some(slot) => {
                        readings.insert(file.clone(), Reading { slot, fresh: false });
                        "its last good contract stays in force"
                    }
                    None => {
                        readings.remove(file);
                        "its partner cannot call"
                    }
                };
                let others = others.join(" and ");
                self.faults.push(format!(
                    "{}, key `identity`: lists an identity that {others} lists too; {effect}",
                    file.display()
                ));
            }
        }
    }
}

/// Finds the files that claim one identity, if any do.
fn contested(readings: &BTreeMap<PathBuf, Reading>) -> Option<Vec<PathBuf>> {
    let mut claims: HashMap<&PeerName, Vec<&PathBuf>> = HashMap::new();
    for (file, reading) in readings {
        for name in &reading.slot.contract.identities {
            claims.entry(name).or_default().push(file);
        }
    }
    let contested = claims.into_values().filter(|files| files.len() > 1).min()?;
    Some(contested.into_iter().cloned().collect())
}

fn contract_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| is_toml(path)).collect())
}
