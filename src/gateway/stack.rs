//! The stack, on one page. Every layer stands as far out as it can be refused cheaply, and not one step further.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceBuilder;

use super::authority::{AuthorityHandlers, Streams};
use super::farewells::Farewells;
use super::handlers::Handlers;
use super::lateness;
use super::layers::{
    DeadlineLayer, GateLayer, GuardLayer, ObserveLayer, ObserveOptions, RateGate, ShedGate, StandingGate,
    StatusLayer,
};
use super::observer::CallObserver;
use super::proto::Environment;
use super::routes::Routes;
use super::serve::{Answers, Ends, ServeOptions, serve_core};
use super::wallet::WalletHandlers;
use crate::admission::{Meters, RefusalLog};
use crate::domain::licence::NumberRules;
use crate::domain::time::Clock;
use crate::evidence::ports::PartnerNames;
use crate::evidence::{Accesses, Receipts};
use crate::identity::{CoreIncoming, CoreLoad, Roster};
use crate::intake::Intake;
use crate::issuing::{Consents, Issuing};
use crate::verification::Verification;

/// Everything the edge is made of.
pub struct Gateway<H> {
    /// The use case.
    pub verification: Arc<Verification>,
    /// The use case of receipts.
    pub receipts: Arc<Receipts>,
    /// The use case of the authority's stream.
    pub intake: Arc<Intake>,
    /// The use case of presentations.
    pub issuing: Arc<Issuing>,
    /// The use case of consents.
    pub consents: Arc<Consents>,
    /// The use case of who looked.
    pub accesses: Arc<Accesses>,
    /// What drivers call partners.
    pub names: Arc<dyn PartnerNames>,
    /// Open streams, over all cores.
    pub streams: Arc<Streams>,
    /// Contracts and standing.
    pub roster: Arc<Roster>,
    /// Rates.
    pub meters: Arc<dyn Meters>,
    /// Refusals go on record here.
    pub refusals: Arc<dyn RefusalLog>,
    /// Hears of every call.
    pub observer: Arc<dyn CallObserver>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// `grpc.health.v1`.
    pub health: HealthServer<H>,
    /// Asks open connections to go away while answers cannot be given.
    pub farewells: Arc<Farewells>,
    /// Bounds of a connection.
    pub serve: ServeOptions,
    /// The largest message, in bytes.
    pub message_bytes_max: usize,
    /// Calls served now, over all cores.
    pub in_flight: Arc<AtomicUsize>,
    /// The most that may be.
    pub in_flight_max: usize,
    /// The longest a call may take.
    pub call_max: Duration,
    /// Which numbers are accepted.
    pub numbers: NumberRules,
    /// Which world answers speak of.
    pub environment: Environment,
}

impl<H: Health> Gateway<H> {
    /// Serves one core's connections until `drain` is cancelled. Call it once per core, on that core's own runtime.
    pub fn serve(
        &self,
        incoming: CoreIncoming,
        drain: CancellationToken,
    ) -> impl Future<Output = ()> + use<H> {
        let ends = Ends { drain, farewells: Arc::clone(&self.farewells) };
        let load = Arc::clone(incoming.load());
        let served = serve_core(incoming, self.stack(&load), self.serve, Arc::clone(&self.observer), ends);
        let watched = lateness::watch(load, Arc::clone(&self.clock));
        async move {
            tokio::select! {
                () = served => {}
                () = watched => {}
            }
        }
    }

    fn stack(&self, load: &Arc<CoreLoad>) -> impl Answers + use<H> {
        ServiceBuilder::new()
            // Outermost: what is refused below is counted, timed and traced all the same.
            .layer(ObserveLayer::new(ObserveOptions {
                clock: Arc::clone(&self.clock),
                observer: Arc::clone(&self.observer),
                call_max: self.call_max,
            }))
            // Makes statuses of everything below; outside the guard, so that a panic leaves as one too.
            .layer(StatusLayer::new(Arc::clone(&self.refusals)))
            // Nothing below takes the connection down with it.
            .layer(GuardLayer)
            // A few atomic steps: the cheapest refusal first, and it protects all that follows.
            .layer(GateLayer::new(ShedGate::new(
                Arc::clone(&self.in_flight),
                self.in_flight_max,
                Arc::clone(load),
            )))
            // A call that is already late costs nothing more.
            .layer(DeadlineLayer::new(Arc::clone(&self.clock)))
            // Every call: a suspension bites on an open connection. Before the rate: the suspended spend none.
            .layer(GateLayer::new(StandingGate::new(Arc::clone(&self.roster), Arc::clone(&self.clock))))
            // Before the message is read: a flood costs us no decoding. Never refunded.
            .layer(GateLayer::new(RateGate::new(Arc::clone(&self.meters))))
            // Reads the message (16 KiB at most) and calls the use case.
            .service(Routes::new(
                self.handlers(),
                self.authority_handlers(),
                self.wallet_handlers(),
                self.health.clone(),
                self.message_bytes_max,
            ))
    }

    fn authority_handlers(&self) -> AuthorityHandlers {
        AuthorityHandlers {
            intake: Arc::clone(&self.intake),
            streams: Arc::clone(&self.streams),
            roster: Arc::clone(&self.roster),
            refusals: Arc::clone(&self.refusals),
            observer: Arc::clone(&self.observer),
            clock: Arc::clone(&self.clock),
            numbers: self.numbers,
        }
    }

    fn wallet_handlers(&self) -> WalletHandlers {
        WalletHandlers {
            issuing: Arc::clone(&self.issuing),
            consents: Arc::clone(&self.consents),
            accesses: Arc::clone(&self.accesses),
            names: Arc::clone(&self.names),
            streams: Arc::clone(&self.streams),
            roster: Arc::clone(&self.roster),
            refusals: Arc::clone(&self.refusals),
            observer: Arc::clone(&self.observer),
            clock: Arc::clone(&self.clock),
            numbers: self.numbers,
            environment: self.environment,
        }
    }

    fn handlers(&self) -> Handlers {
        Handlers {
            verification: Arc::clone(&self.verification),
            receipts: Arc::clone(&self.receipts),
            meters: Arc::clone(&self.meters),
            roster: Arc::clone(&self.roster),
            clock: Arc::clone(&self.clock),
            numbers: self.numbers,
            environment: self.environment,
        }
    }
}
