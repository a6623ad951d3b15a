//! One core's stream of connections: takes sockets from the accept loop, shakes hands, finds the partner.

use std::io;
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
use super::{AcceptorOptions, Arrival, HandshakeObserver, HandshakeOutcome, PartnerStream};
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

/// One core's connections, handshake done. Poll it on the core's own runtime; it ends when the accept loop has ended.
pub struct CoreIncoming {
    arrivals: mpsc::Receiver<Arrival>,
    /// No arrival will come any more.
    closed: bool,
    handshakes: FuturesUnordered<BoxFuture<'static, Option<PartnerStream>>>,
    handshakes_max: usize,
    timeout: Duration,
    context: CoreContext,
}

impl CoreIncoming {
    pub(super) fn new(
        arrivals: mpsc::Receiver<Arrival>,
        context: CoreContext,
        options: AcceptorOptions,
    ) -> Self {
        Self {
            arrivals,
            closed: false,
            handshakes: FuturesUnordered::new(),
            handshakes_max: options.handshakes_per_core_max.max(1),
            timeout: options.handshake_timeout,
            context,
        }
    }

    /// Starts handshakes for sockets that wait, as many as may run at once.
    fn start_handshakes(&mut self, cx: &mut Context<'_>) {
        while !self.closed && self.handshakes.len() < self.handshakes_max {
            match self.arrivals.poll_recv(cx) {
                Poll::Ready(Some(arrival)) => {
                    self.handshakes.push(Box::pin(shake_hands(self.context.clone(), arrival, self.timeout)));
                }
                Poll::Ready(None) => self.closed = true,
                Poll::Pending => return,
            }
        }
    }
}

impl Stream for CoreIncoming {
    type Item = io::Result<PartnerStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.start_handshakes(cx);
            match Pin::new(&mut this.handshakes).poll_next(cx) {
                Poll::Ready(Some(Some(stream))) => return Poll::Ready(Some(Ok(stream))),
                // A failed handshake has been told to the observer; its place may start another one.
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) if this.closed => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

async fn shake_hands(context: CoreContext, arrival: Arrival, timeout: Duration) -> Option<PartnerStream> {
    let began = context.clock.since_boot();
    let outcome = tokio::time::timeout(timeout, connect(&context, arrival)).await;
    let outcome = outcome.unwrap_or(Err(HandshakeOutcome::TimedOut));
    let elapsed = context.clock.since_boot().saturating_sub(began);
    let word = outcome.as_ref().map_or_else(|refused| *refused, |_| HandshakeOutcome::Accepted);
    context.observer.handshake(word, elapsed);
    outcome.ok()
}

async fn connect(context: &CoreContext, arrival: Arrival) -> Result<PartnerStream, HandshakeOutcome> {
    let Arrival { socket, remote, places: (place, core_place) } = arrival;
    let socket = TcpStream::from_std(socket).map_err(|_| HandshakeOutcome::Disconnected)?;
    let acceptor = TlsAcceptor::from(context.trust.server_config());
    let inner = acceptor.accept(socket).await.map_err(|error| outcome_of(&error))?;
    let peer = identify(peer_chain(&inner)).map_err(|_| HandshakeOutcome::BadCertificate)?;
    let now = context.clock.now();
    let connection = Connection::new(next_id(), remote, peer, &context.roster, now);
    // Without a contract the connection is handed on all the same: the partner gets a reason, not a reset.
    let partner_place = match connection.contract(&context.roster) {
        Some(contract) => Some(
            context
                .meters
                .connect(&contract.partner, &contract.allowance)
                .map_err(|_| HandshakeOutcome::PartnerFull)?,
        ),
        None => None,
    };
    Ok(PartnerStream { inner, connection, places: (place, core_place, partner_place) })
}

fn peer_chain(stream: &TlsStream<TcpStream>) -> &[rustls::pki_types::CertificateDer<'static>] {
    stream.get_ref().1.peer_certificates().unwrap_or_default()
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
