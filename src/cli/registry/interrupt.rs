//! Ctrl-C in the middle of long work: the first lets it come to a clean end, the second ends the process.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::terminal::tell;

/// What a shell expects of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
/// How long the work may take to come to its end: a batch is a second's work, waiting for more input is none.
const CLEAN_END_MAX: Duration = Duration::from_secs(10);

/// Whether the operator has had enough.
#[derive(Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen. Where it cannot, Ctrl-C ends the process as it always does: no batch is half done then, either.
    pub(super) fn listen() -> Self {
        let heard = Self(Arc::default());
        let told = heard.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            std::thread::spawn(move || runtime.block_on(told.wait()));
        }
        heard
    }

    async fn wait(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        self.0.store(true, Ordering::Release);
        tell("stopping cleanly; press Ctrl-C again to stop at once");
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = tokio::time::sleep(CLEAN_END_MAX) => {}
        }
        std::process::exit(i32::from(INTERRUPTED));
    }

    /// Says whether Ctrl-C was pressed.
    pub(super) fn is_heard(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Returns the exit code of work that ended because of it.
    pub(super) fn exit_code() -> ExitCode {
        ExitCode::from(INTERRUPTED)
    }

    /// Gives an input or output that breaks off once Ctrl-C was pressed.
    pub(super) fn breaking<T>(&self, inner: T) -> Breaking<T> {
        Breaking { inner, interrupt: self.clone() }
    }
}

/// See [`Interrupt::breaking`].
pub(super) struct Breaking<T> {
    inner: T,
    interrupt: Interrupt,
}

impl<T> Breaking<T> {
    fn unless_heard(&mut self) -> io::Result<&mut T> {
        if self.interrupt.is_heard() {
            // Not `ErrorKind::Interrupted`: that one means "try again".
            return Err(io::Error::other("stopped by Ctrl-C"));
        }
        Ok(&mut self.inner)
    }
}

impl<T: Read> Read for Breaking<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.unless_heard()?.read(into)
    }
}

impl<T: Write> Write for Breaking<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_heard()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_heard()?.flush()
    }
}
