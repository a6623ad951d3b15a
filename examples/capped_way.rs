//! A way to a server that lets so many messages a second through: what a registry of that rate looks like from a gateway.
//!
//! `capped_way LISTEN SERVER PER_SECOND`: passes bytes between whoever connects and the server. What comes from a client in one piece counts as
//! one message and waits for its turn; what the server answers passes at once. `scripts/bench-overload` uses it.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a tool of measurements: its clock is the machine's"
)]

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Turns that were not taken are kept so long: a pause is not made up for by a burst.
const KEPT: Duration = Duration::from_millis(10);

/// Gives out turns, so many a second, over all connections.
struct Turns {
    each: Duration,
    next: Mutex<Instant>,
}

impl Turns {
    fn wait(&self) {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = now.checked_sub(KEPT).unwrap_or(now);
            let turn = (*next).max(earliest);
            *next = turn + self.each;
            turn
        };
        std::thread::sleep(turn.saturating_duration_since(now));
    }
}

fn main() -> ExitCode {
    match arguments().ok_or_else(|| io::Error::other("capped_way LISTEN SERVER PER_SECOND")).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capped_way: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(SocketAddr, SocketAddr, u32)> {
    let mut words = std::env::args().skip(1);
    let (listen, server) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let per_second: u32 = words.next()?.parse().ok()?;
    (per_second > 0).then_some((listen, server, per_second))
}

fn serve((listen, server, per_second): (SocketAddr, SocketAddr, u32)) -> io::Result<()> {
    let turns =
        Arc::new(Turns { each: Duration::from_secs(1) / per_second, next: Mutex::new(Instant::now()) });
    for client in TcpListener::bind(listen)?.incoming() {
        let (client, server) = (client?, TcpStream::connect(server)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (answers, to) = (server.try_clone()?, client.try_clone()?);
        let turns = Arc::clone(&turns);
        std::thread::spawn(move || pass(client, server, || turns.wait()));
        std::thread::spawn(move || pass(answers, to, || {}));
    }
    Ok(())
}

/// Passes everything on until one of the two goes.
fn pass(mut from: TcpStream, mut to: TcpStream, before_each: impl Fn()) {
    let mut piece = [0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        before_each();
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
