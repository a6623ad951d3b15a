//! One core's stream of connections: takes sockets from the accept loop, shakes hands, finds the partner.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::handshake::outcome_of;
use super::places::{CorePlace, Place, neighbourhood};
use super::proxied::read_caller;
use super::{AcceptorOptions, Arrival, CoreLoad, HandshakeObserver, HandshakeOutcome, PartnerStream};
use crate::admission::Meters;
use crate::domain::time::Clock;
use crate::identity::{Connection, Roster, Trust, identify};

/// What a handshake needs. Cheap to clone; one for all cores.
#[derive(Clone)]
pub struct CoreContext {
    /// The TLS settings in force.
    pub trust: Arc<Trust>,
    /// The contracts in force.
    pub roster: Arc<Roster>,
    /// Holds partners to their number of connections.
    pub meters: Arc<dyn Meters>,
    /// Is told how every attempt ended.
    pub observer: Arc<dyn HandshakeObserver>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// How long a socket may stay silent before its handshake: a client speaks first, and at once.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Sockets that may be waited for on one core. They cost a descriptor each and no work.
const HELLOS_MAX: usize = 1_024;

/// One core's connections, handshake done. Poll it on the core's own runtime; it ends when the accept loop has ended.
///
/// A silent socket takes no handshake's place: it waits beside them until it speaks. And one neighbourhood of addresses has
/// at most half of the handshakes, so that nobody alone keeps the others out.
pub struct CoreIncoming {
    arrivals: mpsc::Receiver<Arrival>,
    /// No arrival will come any more.
    closed: bool,
    hellos: FuturesUnordered<BoxFuture<'static, Option<Waiting>>>,
    waiting: VecDeque<Waiting>,
    handshakes: FuturesUnordered<BoxFuture<'static, (IpAddr, Option<PartnerStream>)>>,
    by_neighbourhood: HashMap<IpAddr, usize>,
    handshakes_max: usize,
    /// Of those, for one neighbourhood of addresses.
    neighbours_max: usize,
    timeout: Duration,
    load: Arc<CoreLoad>,
    context: CoreContext,
}

/// A socket that has spoken and waits for a handshake's place.
struct Waiting {
    socket: TcpStream,
    remote: SocketAddr,
    places: (Place, CorePlace),
}

impl CoreIncoming {
    pub(super) fn new(
        arrivals: mpsc::Receiver<Arrival>,
        context: CoreContext,
        options: AcceptorOptions,
    ) -> Self {
        let handshakes_max = options.handshakes_per_core_max.max(1);
        // Where addresses are not told apart, all callers are one neighbourhood.
        let neighbours_max =
            options.connections_per_address_max.map_or(handshakes_max, |_| (handshakes_max / 2).max(1));
        Self {
            arrivals,
            closed: false,
            hellos: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            handshakes: FuturesUnordered::new(),
            by_neighbourhood: HashMap::new(),
            handshakes_max,
            neighbours_max,
            timeout: options.handshake_timeout,
            load: CoreLoad::new(options.open_per_core_max.max(1)),
            context,
        }
    }

    /// Returns the load of this core.
    pub fn load(&self) -> &Arc<CoreLoad> {
        &self.load
    }

    /// Takes sockets in, and lets those that have spoken wait for a place.
    fn take_arrivals(&mut self, cx: &mut Context<'_>) {
        while !self.closed && self.hellos.len() < HELLOS_MAX {
            match self.arrivals.poll_recv(cx) {
                Poll::Ready(Some(arrival)) => {
                    self.hellos.push(Box::pin(wait_for_hello(self.context.clone(), arrival)));
                }
                Poll::Ready(None) => self.closed = true,
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(spoken)) = Pin::new(&mut self.hellos).poll_next(cx) {
            self.waiting.extend(spoken);
        }
    }

    /// Starts as many handshakes as may run at once, oldest first, but half of them at most for one neighbourhood.
    fn start_handshakes(&mut self) {
        let mut index = 0;
        while self.handshakes.len() < self.handshakes_max && index < self.waiting.len() {
            let neighbours = neighbourhood(self.waiting[index].remote.ip());
            let here = self.by_neighbourhood.entry(neighbours).or_default();
            if *here >= self.neighbours_max {
                index += 1;
                continue;
            }
            *here += 1;
            if let Some(waiting) = self.waiting.remove(index) {
                let handshake =
                    shake_hands(self.context.clone(), Arc::clone(&self.load), waiting, self.timeout);
                self.handshakes.push(Box::pin(async move { (neighbours, handshake.await) }));
            }
        }
    }

    fn ended(&mut self, neighbours: IpAddr) {
        if let Some(here) = self.by_neighbourhood.get_mut(&neighbours) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.by_neighbourhood.remove(&neighbours);
            }
        }
    }
}

impl Stream for CoreIncoming {
    type Item = io::Result<PartnerStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.take_arrivals(cx);
            this.start_handshakes();
            match Pin::new(&mut this.handshakes).poll_next(cx) {
                Poll::Ready(Some((neighbours, outcome))) => {
                    this.ended(neighbours);
                    // A failed handshake has been told to the observer; its place may start another one.
                    if let Some(stream) = outcome {
                        return Poll::Ready(Some(Ok(stream)));
                    }
                }
                Poll::Ready(None) if this.closed && this.hellos.is_empty() && this.waiting.is_empty() => {
                    return Poll::Ready(None);
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Waits until the peer speaks, after the balancer before it has said who it is; a silent one is let go.
async fn wait_for_hello(context: CoreContext, arrival: Arrival) -> Option<Waiting> {
    let refused = |outcome, elapsed| {
        context.observer.handshake(outcome, elapsed);
        None
    };
    match tokio::time::timeout(HELLO_WITHIN, hear(arrival)).await {
        Ok(Ok(waiting)) => Some(waiting),
        Ok(Err(outcome)) => refused(outcome, Duration::ZERO),
        Err(_elapsed) => refused(HandshakeOutcome::TimedOut, HELLO_WITHIN),
    }
}

async fn hear(arrival: Arrival) -> Result<Waiting, HandshakeOutcome> {
    let gone = |_: io::Error| HandshakeOutcome::Disconnected;
    let Arrival { socket, mut remote, is_proxied, places: (mut place, core_place) } = arrival;
    let mut socket = TcpStream::from_std(socket).map_err(gone)?;
    if is_proxied {
        remote = read_caller(&mut socket, remote).await?;
        place = place.of(remote.ip())?;
    }
    // Not `readable`: that may still say so because of the header.
    if socket.peek(&mut [0]).await.map_err(gone)? == 0 {
        return Err(HandshakeOutcome::Disconnected);
    }
    Ok(Waiting { socket, remote, places: (place, core_place) })
}

async fn shake_hands(
    context: CoreContext,
    load: Arc<CoreLoad>,
    arrival: Waiting,
    timeout: Duration,
) -> Option<PartnerStream> {
    let began = context.clock.since_boot();
    let outcome = tokio::time::timeout(timeout, connect(&context, load, arrival)).await;
    let outcome = outcome.unwrap_or(Err(HandshakeOutcome::TimedOut));
    let elapsed = context.clock.since_boot().saturating_sub(began);
    let word = outcome.as_ref().map_or_else(|refused| *refused, |_| HandshakeOutcome::Accepted);
    context.observer.handshake(word, elapsed);
    outcome.ok()
}

async fn connect(
    context: &CoreContext,
    load: Arc<CoreLoad>,
    arrival: Waiting,
) -> Result<PartnerStream, HandshakeOutcome> {
    let Waiting { socket, remote, places: (place, core_place) } = arrival;
    let acceptor = TlsAcceptor::from(context.trust.server_config());
    let inner = acceptor.accept(socket).await.map_err(|error| outcome_of(&error))?;
    let peer = identify(peer_chain(&inner)).map_err(|_| HandshakeOutcome::BadCertificate)?;
    let now = context.clock.now();
    let connection = Connection::new(next_id(), remote, peer, &context.roster, now);
    // Without a contract the connection is handed on all the same: the partner gets a reason, not a reset.
    let contract = connection.contract(&context.roster);
    let partner = contract.as_ref().map(|contract| contract.partner.clone());
    let partner_place = match contract {
        Some(contract) => Some(
            context
                .meters
                .connect(&contract.partner, &contract.allowance)
                .map_err(|_| HandshakeOutcome::PartnerFull)?,
        ),
        None => None,
    };
    Ok(PartnerStream::new(inner, connection, (place, core_place, partner_place), load, partner))
}

fn peer_chain(stream: &TlsStream<TcpStream>) -> &[rustls::pki_types::CertificateDer<'static>] {
    stream.get_ref().1.peer_certificates().unwrap_or_default()
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
