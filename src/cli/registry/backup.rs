//! `drivegate registry backup`: one file of everything, from here or from the gateway that holds the registry open.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::opening::{OpenFault, must_exist, open_store};
use super::progress::{StageBar, byte_bar};
use crate::admin::client::AdminClient;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::{EmbeddedRegistry, RegistryError};

const WRITE_SIZE: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The deployment folder.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The backup to write; it must not exist. The key file is not in it: keep a copy of that elsewhere.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        must_exist(&places)?;
        if self.to.symlink_metadata().is_ok() {
            return Err(miette!(
                help = "name another file, or remove it first",
                "{} exists",
                self.to.display()
            ));
        }
        let mut part = Part::make(&self.to)?;
        let said = match open_store(&places) {
            Ok(registry) => back_up_here(&registry, &mut part)?,
            Err(OpenFault::Registry(RegistryError::Locked(_))) => {
                back_up_through_gateway(&places.admin_socket, &mut part)?
            }
            Err(fault) => return Err(fault.into()),
        };
        part.finish().into_diagnostic().wrap_err_with(|| format!("cannot write {}", self.to.display()))?;
        say(&said);
        Ok(ExitCode::SUCCESS)
    }
}

fn back_up_here(registry: &EmbeddedRegistry, part: &mut Part) -> miette::Result<String> {
    let mut bar = StageBar::new();
    let report = registry.back_up(&mut part.out, &mut |progress| bar.show(progress));
    bar.finish();
    let report = report.into_diagnostic().wrap_err("there is no backup")?;
    Ok(format!(
        "{} subjects as of epoch {}, feed position {}: {} bytes",
        report.subjects, report.epoch, report.head_seq, report.bytes
    ))
}

fn back_up_through_gateway(socket: &Path, part: &mut Part) -> miette::Result<String> {
    let bar = byte_bar(None);
    let client = AdminClient::connect(socket)?;
    let bytes = client.back_up(&mut bar.wrap_write(&mut part.out));
    bar.finish_and_clear();
    let bytes = bytes.wrap_err("there is no backup")?;
    Ok(format!("{bytes} bytes, from the gateway that is running"))
}

/// The backup while it is written: beside its place, private, and gone if it is not finished.
struct Part {
    out: BufWriter<File>,
    beside: PathBuf,
    place: PathBuf,
    finished: bool,
}

impl Part {
    fn make(place: &Path) -> miette::Result<Self> {
        let mut beside = place.as_os_str().to_owned();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let file = file.into_diagnostic().wrap_err_with(|| format!("cannot create {}", beside.display()))?;
        let out = BufWriter::with_capacity(WRITE_SIZE, file);
        Ok(Self { out, beside, place: place.to_owned(), finished: false })
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        // Not a rename: what came to lie there meanwhile is nobody's to overwrite.
        std::fs::hard_link(&self.beside, &self.place)?;
        self.finished = true;
        std::fs::remove_file(&self.beside)?;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _gone = std::fs::remove_file(&self.beside);
        }
    }
}
