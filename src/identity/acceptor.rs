//! The partner listener: one loop accepts, each socket goes to the least loaded core, and the handshake happens there.
//!
//! Everything is bounded: connections in total and per address, sockets waiting for a core, handshakes at once on a core,
//! the time of each, and the partner's own connections.

mod handshake;
mod incoming;
mod load;
mod places;
mod proxied;
mod stream;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use handshake::{HandshakeObserver, HandshakeOutcome};
pub use incoming::{CoreContext, CoreIncoming};
pub use load::{CoreLoad, CoreLoadStats, OpenOnCore};
pub use stream::PartnerStream;

use self::places::{CorePlace, Place, Places};
use self::proxied::Balancers;

/// How long the loop rests when the process is out of descriptors: long enough for a connection to end.
const OUT_OF_DESCRIPTORS_REST: Duration = Duration::from_millis(100);

/// Bounds of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptorOptions {
    /// Sockets the kernel completes for us before we accept them. Default 1024: a reconnect storm of one large partner.
    pub backlog: u16,
    /// Connections open at once in all. Default 4096, about 120 MiB of idle TLS state.
    pub connections_max: usize,
    /// Connections open at once from one IPv4 address or one IPv6 /64. Default 256: partners behind one address translate. `None`:
    /// addresses are not told apart, because a balancer that does not say whose connections it hands on stands before all.
    pub connections_per_address_max: Option<u32>,
    /// Sockets waiting for a core's loop. Default 256: they are taken within one turn of the loop.
    pub queue_per_core_max: usize,
    /// Handshakes at once on one core. Default 32: about 11 ms of work, so that requests wait no longer than that.
    pub handshakes_per_core_max: usize,
    /// Calls open at once on one core, at most. Default 4096.
    pub open_per_core_max: usize,
    /// How long one handshake may take. Default 5 s: three round trips on a bad line.
    pub handshake_timeout: Duration,
}

impl Default for AcceptorOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            connections_max: 4096,
            connections_per_address_max: Some(256),
            queue_per_core_max: 256,
            handshakes_per_core_max: 32,
            open_per_core_max: 4096,
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Acceptor {
    listener: std::net::TcpListener,
    options: AcceptorOptions,
    balancers: Balancers,
}

/// The loop that accepts; runs on any runtime until its token is cancelled.
pub struct AcceptLoop {
    listener: std::net::TcpListener,
    places: Places,
    balancers: Balancers,
    cores: Vec<Core>,
    observer: Arc<dyn HandshakeObserver>,
}

/// The accepting side of one core.
struct Core {
    sockets: mpsc::Sender<Arrival>,
    open: Arc<AtomicUsize>,
}

/// A socket on its way to a core, with the places it holds.
struct Arrival {
    socket: TcpStream,
    remote: SocketAddr,
    /// A balancer's: it begins with a header that names the caller, and its place is not yet counted for an address.
    is_proxied: bool,
    places: (Place, CorePlace),
}

impl Acceptor {
    /// Binds the listener. Port 0 takes a free one; see [`Self::local_addr`].
    ///
    /// # Errors
    /// The operating system's: the address is taken, or not ours.
    pub fn bind(address: SocketAddr, options: AcceptorOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::from(options.backlog))?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: socket.into(), options, balancers: Balancers::default() })
    }

    /// Expects a PROXY header, version 2, from these networks.
    #[must_use]
    pub fn behind(self, balancers: Vec<IpNet>) -> Self {
        Self { balancers: Balancers::new(balancers), ..self }
    }

    /// Returns the address bound.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Splits into the loop that accepts and one stream of connections per core; each is polled on its core's runtime.
    pub fn split(self, cores: NonZeroUsize, context: &CoreContext) -> (AcceptLoop, Vec<CoreIncoming>) {
        let (mut senders, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..cores.get() {
            let (sockets, arrivals) = mpsc::channel(self.options.queue_per_core_max.max(1));
            senders.push(Core { sockets, open: Arc::default() });
            streams.push(CoreIncoming::new(arrivals, context.clone(), self.options));
        }
        let accept = AcceptLoop {
            listener: self.listener,
            places: Places::new(self.options.connections_max, self.options.connections_per_address_max),
            balancers: self.balancers,
            cores: senders,
            observer: Arc::clone(&context.observer),
        };
        (accept, streams)
    }
}

impl AcceptLoop {
    /// Accepts until the token is cancelled; then the listener closes and every core's stream ends.
    ///
    /// # Errors
    /// The listener could not be registered with the runtime. Errors of single sockets never end the loop.
    pub async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener.try_clone()?)?;
        let mut reserve = spare_descriptor();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, remote)) => {
                    if let Ok(socket) = socket.into_std() {
                        self.admit(socket, remote);
                    }
                }
                Err(error) if out_of_descriptors(&error) => {
                    self.turn_one_away(&listener, &mut reserve).await;
                }
                // The peer gave up between the kernel's accept and ours.
                Err(_) => {}
            }
        }
    }

    /// Takes the places a connection needs and hands it to a core; whatever is refused is closed by its drop.
    fn admit(&self, socket: TcpStream, remote: SocketAddr) {
        let refused = |outcome| self.observer.handshake(outcome, Duration::ZERO);
        let is_proxied = self.balancers.include(remote.ip());
        let place =
            self.places.take().and_then(|place| if is_proxied { Ok(place) } else { place.of(remote.ip()) });
        let place = match place {
            Ok(place) => place,
            Err(outcome) => return refused(outcome),
        };
        if tune(&socket).is_err() {
            return refused(HandshakeOutcome::Disconnected);
        }
        let mut cores: Vec<&Core> = self.cores.iter().collect();
        cores.sort_by_key(|core| core.open.load(Ordering::Relaxed));
        let mut waiting = (socket, place);
        for core in cores {
            let (socket, place) = waiting;
            let places = (place, CorePlace::take(&core.open));
            match core.sockets.try_send(Arrival { socket, remote, is_proxied, places }) {
                Ok(()) => return,
                Err(back) => {
                    let arrival = back.into_inner();
                    waiting = (arrival.socket, arrival.places.0);
                }
            }
        }
        refused(HandshakeOutcome::QueueFull);
    }

    /// Out of descriptors an accept loop would spin, and clients would hang: one descriptor kept in reserve turns them away.
    async fn turn_one_away(&self, listener: &TcpListener, reserve: &mut Option<File>) {
        drop(reserve.take());
        if let Ok(Ok(accepted)) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            drop(accepted);
            self.observer.handshake(HandshakeOutcome::OutOfDescriptors, Duration::ZERO);
        }
        *reserve = spare_descriptor();
        tokio::time::sleep(OUT_OF_DESCRIPTORS_REST).await;
    }
}

/// Small answers leave at once, and a peer that vanished is noticed within a minute.
fn tune(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive)
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests;
