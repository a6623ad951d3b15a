//! The operator's client: what the command line says to a running gateway, over its socket.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::ports::{HoldBackLifted, HoldBackSet};
use super::report::{
    ErrorBody, HoldBackLine, ImportCounts, ImportEncoding, ImportEvent, ImportFormat, ImportProgress,
    KeyLine, PartnerLine, QuarantineLine, ReloadReport, SettledReport, StandingOrder, StatusReport,
};
use crate::domain::licence::DocumentKind;

/// How long an ordinary operation may take: a reload reads a folder of contracts, the rest less.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer to an ordinary operation: ten thousand partners.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The longest line of an import's event stream.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an import read and sent at once.
const IMPORT_CHUNK_BYTES: usize = 64 * 1024;

/// Chunks read ahead of what the gateway has taken.
const IMPORT_CHUNKS_AHEAD: usize = 4;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection to a running gateway's operator socket. Blocking: for the command line, not for use inside a runtime.
pub struct AdminClient {
    path: PathBuf,
    runtime: Runtime,
}

/// Why the gateway did not do it. Each says what to do next.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AdminClientError {
    /// Nobody listens on the socket.
    #[error("no gateway listens on {}", path.display())]
    #[diagnostic(help(
        "start it with `drivegate serve --config FILE`, or name the data folder of the one that runs"
    ))]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket belongs to another user.
    #[error("the socket {} may not be used by this user", path.display())]
    #[diagnostic(help("run the command as the user the gateway runs as, or as root"))]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// The gateway refused or could not do it.
    #[error("{}", answer.message)]
    #[diagnostic(help("{}", answer.next))]
    Refused {
        /// What it said.
        answer: ErrorBody,
    },
    /// It took too long; whether it was done is not known.
    #[error("the gateway did not answer within {} s", OPERATION_TIMEOUT.as_secs())]
    #[diagnostic(help("look at the gateway's log, then ask `drivegate partner list` whether it was done"))]
    TimedOut,
    /// The file to import could not be read; what was sent before stays imported.
    #[error("cannot read the file to import")]
    #[diagnostic(help("importing is idempotent: correct the cause and run the same command again"))]
    Unreadable(#[source] io::Error),
    /// What was exported or backed up could not be written.
    #[error("cannot write what the gateway sent")]
    #[diagnostic(help("is the disk full? Nothing in the gateway has changed; run the same command again"))]
    Unwritable(#[source] io::Error),
    /// The connection broke off.
    #[error("the connection to the gateway broke off")]
    #[diagnostic(help("look at the gateway's log; every operation may be repeated safely"))]
    BrokenOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer could not be understood.
    #[error("the gateway's answer cannot be read")]
    #[diagnostic(help("is the gateway another version of drivegate? Use the same for both"))]
    NotUnderstood(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AdminClient {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`AdminClientError::NotRunning`] when nobody listens there, [`AdminClientError::NotPermitted`] for another's.
    pub fn connect(path: &Path) -> Result<Self, AdminClientError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken_off)?;
        let client = Self { path: path.to_path_buf(), runtime };
        client.runtime.block_on(client.open())?;
        Ok(client)
    }

    /// Suspends a partner; the order's reason is kept with the standing and shown to operators.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn suspend(&self, partner: &str, order: &StandingOrder) -> Result<PartnerLine, AdminClientError> {
        self.order(&format!("/v1/partners/{partner}/suspend"), order)
    }

    /// Lifts a partner's suspension.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn resume(&self, partner: &str, order: &StandingOrder) -> Result<PartnerLine, AdminClientError> {
        self.order(&format!("/v1/partners/{partner}/resume"), order)
    }

    /// Suspends a partner's claims, and not what drivers show it.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn suspend_claims(
        &self,
        partner: &str,
        order: &StandingOrder,
    ) -> Result<PartnerLine, AdminClientError> {
        self.order(&format!("/v1/partners/{partner}/suspend-claims"), order)
    }

    /// Lets a partner claim again.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn resume_claims(
        &self,
        partner: &str,
        order: &StandingOrder,
    ) -> Result<PartnerLine, AdminClientError> {
        self.order(&format!("/v1/partners/{partner}/resume-claims"), order)
    }

    /// Denies a key, named by its pin.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn deny(&self, pin: &str, order: &StandingOrder) -> Result<KeyLine, AdminClientError> {
        self.order(&format!("/v1/keys/{pin}/deny"), order)
    }

    /// Allows a denied key again.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn allow(&self, pin: &str, order: &StandingOrder) -> Result<KeyLine, AdminClientError> {
        self.order(&format!("/v1/keys/{pin}/allow"), order)
    }

    /// Lists the keys that are denied, or were.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn keys(&self) -> Result<Vec<KeyLine>, AdminClientError> {
        self.ask(Method::GET, "/v1/keys", String::new())
    }

    fn order<T: DeserializeOwned>(&self, path: &str, order: &StandingOrder) -> Result<T, AdminClientError> {
        let body = serde_json::to_string(order).map_err(broken_off)?;
        self.ask(Method::POST, path, body)
    }

    /// Lists the partners and where they stand.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn partners(&self) -> Result<Vec<PartnerLine>, AdminClientError> {
        self.ask(Method::GET, "/v1/partners", String::new())
    }

    /// Has the gateway read its files again.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn reload(&self) -> Result<ReloadReport, AdminClientError> {
        self.ask(Method::POST, "/v1/reload", String::new())
    }

    /// Asks what the gateway is and holds.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn status(&self) -> Result<StatusReport, AdminClientError> {
        self.ask(Method::GET, "/v1/status", String::new())
    }

    /// Lists waiting changes of the authority, after the one with a handle; an empty list is the end.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn quarantine(&self, after: Option<&str>) -> Result<Vec<QuarantineLine>, AdminClientError> {
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        self.ask(Method::GET, &format!("/v1/quarantine{query}"), String::new())
    }

    /// Discards a waiting change.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn discard(&self, handle: &str) -> Result<SettledReport, AdminClientError> {
        self.ask(Method::POST, &format!("/v1/quarantine/{handle}/discard"), String::new())
    }

    /// Has a waiting change judged again; `recorded_now`: as recorded now.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn replay(&self, handle: &str, recorded_now: bool) -> Result<SettledReport, AdminClientError> {
        let body = serde_json::json!({ "recorded_now": recorded_now }).to_string();
        self.ask(Method::POST, &format!("/v1/quarantine/{handle}/replay"), body)
    }

    /// Holds look-ups back from a driver.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn set_hold_back(
        &self,
        (document, number): (DocumentKind, &str),
        wanted: &HoldBackSet,
    ) -> Result<HoldBackLine, AdminClientError> {
        let holder = serde_json::json!({ "document": document, "number": number });
        let body = serde_json::json!({ "holder": holder, "hold_back": wanted }).to_string();
        self.ask(Method::POST, "/v1/hold-backs/set", body)
    }

    /// Lists what is held back from a driver, and what was.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn hold_backs(
        &self,
        (document, number): (DocumentKind, &str),
    ) -> Result<Vec<HoldBackLine>, AdminClientError> {
        let holder = serde_json::json!({ "document": document, "number": number });
        self.ask(Method::POST, "/v1/hold-backs/list", serde_json::json!({ "holder": holder }).to_string())
    }

    /// Lifts a hold-back before its time.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn lift_hold_back(
        &self,
        (document, number): (DocumentKind, &str),
        wanted: &HoldBackLifted,
    ) -> Result<HoldBackLine, AdminClientError> {
        let holder = serde_json::json!({ "document": document, "number": number });
        let body = serde_json::json!({ "holder": holder, "hold_back": wanted }).to_string();
        self.ask(Method::POST, "/v1/hold-backs/lift", body)
    }

    /// Imports licences through the gateway that holds the registry open. `progress` hears of counts and of refused
    /// lines as they come; it takes as long as the reader takes.
    ///
    /// # Errors
    /// As [`AdminClientError`] says. What was imported before an error stays: importing is idempotent.
    pub fn import(
        &self,
        reader: impl Read + Send + 'static,
        format: ImportFormat,
        encoding: ImportEncoding,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportCounts, AdminClientError> {
        let (chunks, body) = mpsc::channel(IMPORT_CHUNKS_AHEAD);
        let (fault_into, mut fault) = oneshot::channel();
        std::thread::spawn(move || send_chunks(reader, &chunks, fault_into));
        let body = StreamBody::new(ReceiverStream::new(body).map(|chunk| chunk.map(Frame::data)));
        let outcome = self.runtime.block_on(async {
            let (format, encoding) = (format.word(), encoding.word());
            let path = format!("/v1/registry/import?format={format}&encoding={encoding}");
            let response = self.send(Method::POST, &path, body.boxed_unsync()).await?;
            read_events(response, progress).await
        });
        outcome.map_err(|error| fault.try_recv().map_or(error, AdminClientError::Unreadable))
    }

    /// Exports every licence of the registry the gateway holds open, numbers and names included, into `out`.
    ///
    /// # Errors
    /// As [`AdminClientError`] says. What was written before an error is no whole export: it lacks its end line.
    pub fn export(&self, out: &mut dyn io::Write) -> Result<(), AdminClientError> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        self.runtime.block_on(async {
            let response = self.send(Method::GET, "/v1/registry/export", body).await?;
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(broken_off)?.into_data() {
                    out.write_all(&data).map_err(AdminClientError::Unwritable)?;
                }
            }
            out.flush().map_err(AdminClientError::Unwritable)
        })
    }

    /// Has the gateway write a backup of the registry it holds open to `out`; returns its size. It takes as long as it takes.
    ///
    /// # Errors
    /// As [`AdminClientError`] says; what was written is then no backup.
    pub fn back_up(&self, out: &mut dyn io::Write) -> Result<u64, AdminClientError> {
        self.runtime.block_on(async {
            let nothing = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
            let mut body = self.send(Method::GET, "/v1/registry/backup", nothing).await?.into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(broken_off)?.into_data() else { continue };
                out.write_all(&data).map_err(AdminClientError::Unwritable)?;
                bytes += data.len() as u64;
            }
            Ok(bytes)
        })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<T, AdminClientError> {
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let exchange = async {
            let response = self.send(method, path, body).await?;
            let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let answer = answer.map_err(AdminClientError::BrokenOff)?.to_bytes();
            serde_json::from_slice(&answer).map_err(not_understood)
        };
        self.runtime.block_on(async {
            tokio::time::timeout(OPERATION_TIMEOUT, exchange).await.map_err(|_| AdminClientError::TimedOut)?
        })
    }

    /// Sends one request over a connection of its own; anything but success becomes [`AdminClientError::Refused`].
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, AdminClientError> {
        let stream = self.open().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken_off)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "drivegate")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(not_understood)?;
        let response = sender.send_request(request).await.map_err(broken_off)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    async fn open(&self) -> Result<UnixStream, AdminClientError> {
        UnixStream::connect(&self.path).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                AdminClientError::NotRunning { path: self.path.clone() }
            }
            ErrorKind::PermissionDenied => AdminClientError::NotPermitted { path: self.path.clone() },
            _ => broken_off(error),
        })
    }
}

/// Reads the file and hands on its chunks; tells why it could not be read. Stops when nobody takes them any more.
fn send_chunks(
    mut reader: impl Read,
    chunks: &mpsc::Sender<io::Result<Bytes>>,
    fault_into: oneshot::Sender<io::Error>,
) {
    loop {
        let mut chunk = vec![0; IMPORT_CHUNK_BYTES];
        match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                chunk.truncate(count);
                if chunks.blocking_send(Ok(chunk.into())).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                // Told first: the broken body ends the exchange, and whoever waits for that asks why at once. The gateway must see a
                // broken body, not an end: half a line at the end is no licence.
                let kind = error.kind();
                drop(fault_into.send(error));
                drop(chunks.blocking_send(Err(kind.into())));
                return;
            }
        }
    }
}

/// Reads the event stream of an import to its end.
async fn read_events(
    response: Response<Incoming>,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportCounts, AdminClientError> {
    let mut body = response.into_body();
    let mut pending = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken_off)?.into_data() else { continue };
        pending.extend_from_slice(&data);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line = pending.split_to(end + 1);
            match serde_json::from_slice(&line).map_err(not_understood)? {
                ImportEvent::Progress(event) => progress(event),
                ImportEvent::Done(counts) => return Ok(counts),
                ImportEvent::Failed(answer) => return Err(AdminClientError::Refused { answer }),
            }
        }
        if pending.len() > EVENT_BYTES_MAX {
            return Err(not_understood(io::Error::from(ErrorKind::InvalidData)));
        }
    }
    Err(broken_off(io::Error::from(ErrorKind::UnexpectedEof)))
}

async fn refusal(response: Response<Incoming>) -> AdminClientError {
    let answer = match Limited::new(response.into_body(), EVENT_BYTES_MAX).collect().await {
        Ok(answer) => answer.to_bytes(),
        Err(error) => return AdminClientError::BrokenOff(error),
    };
    match serde_json::from_slice(&answer) {
        Ok(answer) => AdminClientError::Refused { answer },
        Err(error) => not_understood(error),
    }
}

fn broken_off(cause: impl std::error::Error + Send + Sync + 'static) -> AdminClientError {
    AdminClientError::BrokenOff(Box::new(cause))
}

fn not_understood(cause: impl std::error::Error + Send + Sync + 'static) -> AdminClientError {
    AdminClientError::NotUnderstood(Box::new(cause))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::AdminSocket;
    use crate::admin::ports::{IMPORT_LINE_BYTES_MAX, Settlement};
    use crate::admin::report::{StandingPlace, SuspensionLine};
    use crate::admin::testing::{NUMBER, Process, Scripted};

    /// A process with its socket in a folder of its own, served by a runtime of its own.
    struct Served {
        process: Process,
        path: PathBuf,
        stop: CancellationToken,
        thread: Option<std::thread::JoinHandle<()>>,
        _folder: tempfile::TempDir,
    }

    impl Served {
        fn start(script: Scripted) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("admin.sock");
            let process = Process(Arc::new(script));
            let stop = CancellationToken::new();
            let (ready, is_ready) = std::sync::mpsc::channel();
            let (at, served, until) = (path.clone(), process.clone(), stop.clone());
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let socket = AdminSocket::bind(&at).unwrap();
                    ready.send(()).unwrap();
                    let status = Arc::clone(&served.0);
                    socket.serve(Arc::new(served), status, until).await;
                });
            });
            is_ready.recv().unwrap();
            Self { process, path, stop, thread: Some(thread), _folder: folder }
        }

        fn client(&self) -> AdminClient {
            AdminClient::connect(&self.path).unwrap()
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.stop.cancel();
            self.thread.take().unwrap().join().unwrap();
        }
    }

    fn refused(error: AdminClientError) -> ErrorBody {
        match error {
            AdminClientError::Refused { answer } => answer,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_partner_is_suspended_listed_and_resumed() {
        let served = Served::start(Scripted::default());
        let client = served.client();
        let line = client.suspend("rental-demo", &StandingOrder::because("unpaid bill 账单")).unwrap();
        assert_eq!((line.standing.as_str(), line.purposes.len()), ("suspended", 1));
        let lines = client.partners().unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].suspended_because.as_deref(), Some("unpaid bill 账单"));
        assert_eq!(client.resume("rental-demo", &StandingOrder::because("paid")).unwrap().standing, "active");
        let line = client.suspend_claims("rental-demo", &StandingOrder::because("guessing")).unwrap();
        assert_eq!((line.standing.as_str(), line.claim_suspensions.len()), ("active", 1));
        assert_eq!(line.claim_suspensions[0].reason.as_deref(), Some("guessing"));
        let line = client.resume_claims("rental-demo", &StandingOrder::because("a faulty import")).unwrap();
        assert_eq!(line.claim_suspensions, []);
    }

    #[test]
    fn a_key_is_denied_listed_and_allowed() {
        let served = Served::start(Scripted::default());
        let client = served.client();
        let pin = "a7".repeat(32);
        let order =
            StandingOrder { by: Some("op".into()), here_only: true, ..StandingOrder::because("stolen") };
        let line = client.deny(&pin, &order).unwrap();
        let denial = SuspensionLine {
            place: StandingPlace::ThisReplica,
            reason: Some("stolen".into()),
            by: Some("op".into()),
            since: None,
        };
        assert_eq!(line, KeyLine { pin: pin.clone(), denials: vec![denial] });
        assert_eq!(client.keys().unwrap(), [line]);
        assert_eq!(client.allow(&pin, &StandingOrder::because("found")).unwrap().denials, []);
        let malformed = client.deny("a7", &StandingOrder::because("why"));
        assert_eq!(refused(malformed.unwrap_err()).code, "malformed-pin");
        let away = refused(client.deny(&"00".repeat(32), &StandingOrder::because("why")).unwrap_err());
        assert_eq!(away.code, "shared-record-away");
        assert!(away.next.contains("--here-only"));
    }

    #[test]
    fn what_is_refused_says_what_to_do() {
        let served = Served::start(Scripted::default());
        let client = served.client();
        let unknown = refused(client.suspend("nobody", &StandingOrder::because("why")).unwrap_err());
        assert_eq!(unknown.code, "partner-not-known");
        assert!(unknown.next.contains("partner list"));
        for (partner, reason, code) in [
            ("Rental_Demo", "why", "malformed-id"),
            ("rental-demo", "  ", "malformed-reason"),
            ("rental-demo", "two\nlines", "malformed-reason"),
            ("rental-demo", &"x".repeat(501), "malformed-reason"),
            ("rental-demo", &"x".repeat(20_000), "malformed-body"),
        ] {
            assert_eq!(
                refused(client.suspend(partner, &StandingOrder::because(reason)).unwrap_err()).code,
                code
            );
        }
        assert!(served.process.0.suspended.lock().unwrap().is_empty());
    }

    #[test]
    fn status_and_reload_are_reported() {
        let served = Served::start(Scripted::default());
        let client = served.client();
        assert_eq!(client.status().unwrap().environment, "demo");
        assert_eq!(client.reload().unwrap().faults, ["rental.toml:3: rate"]);
    }

    #[test]
    fn waiting_changes_are_listed_and_settled() {
        let served = Served::start(Scripted::default());
        let client = served.client();
        let lines = client.quarantine(None).unwrap();
        assert_eq!((lines.len(), lines[0].reason.as_str()), (1, "not-understood"));
        let handle = lines[0].handle.as_str();
        assert_eq!(client.quarantine(Some(handle)).unwrap(), []);
        assert_eq!(client.discard(handle).unwrap().applied, 2);
        client.replay(handle, true).unwrap();
        let settled = served.process.0.settled.lock().unwrap().clone();
        let decided: Vec<_> = settled.into_iter().map(|(_, settlement)| settlement).collect();
        assert_eq!(decided, [Settlement::Discard, Settlement::Replay { recorded_now: true }]);
        let refused = refused(client.discard("ffffffffffff").unwrap_err());
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("not-usable", "no change waits under this handle")
        );
    }

    #[test]
    fn look_ups_are_held_back_listed_and_let_go() {
        let served = Served::start(Scripted::default());
        let (client, driver) = (served.client(), (DocumentKind::ResidentId, NUMBER));
        let wanted = HoldBackSet {
            partner: Some("police".into()),
            from: None,
            until: "2026-04-01T00:00:00Z".into(),
            set_by: "officer 4711".into(),
            ground: "file 2026-17".into(),
        };
        let line = client.set_hold_back(driver, &wanted).unwrap();
        assert_eq!((line.set_by.as_str(), line.partner.as_deref()), ("officer 4711", Some("police")));
        assert_eq!(client.hold_backs(driver).unwrap(), std::slice::from_ref(&line));
        let (lifted_by, ground) = ("officer 4711".into(), "closed".into());
        let wanted = HoldBackLifted { id: line.id, lifted_by, ground };
        assert!(!client.lift_hold_back(driver, &wanted).unwrap().in_force);
        assert_eq!(refused(client.lift_hold_back(driver, &wanted).unwrap_err()).code, "not-usable");
    }

    /// A driver's number comes in a body, and no answer about a body repeats it.
    #[test]
    fn a_refusal_about_a_driver_does_not_repeat_the_number() {
        let served = Served::start(Scripted::default());
        let client = served.client();
        let unknown = refused(client.hold_backs((DocumentKind::Passport, NUMBER)).unwrap_err());
        let body = format!("{{\"holder\": {{\"document\": \"{NUMBER}\", \"number\": 1}}}}");
        let answer = client.ask::<Vec<HoldBackLine>>(Method::POST, "/v1/hold-backs/list", body);
        let unreadable = refused(answer.unwrap_err());
        assert_eq!((unknown.code.as_str(), unreadable.code.as_str()), ("not-usable", "malformed-body"));
        for said in [unknown, unreadable] {
            assert!(!format!("{said:?}").contains(NUMBER));
        }
    }

    #[test]
    fn an_import_streams_both_ways() {
        let served = Served::start(Scripted::default());
        let mut file = String::new();
        for number in 1..=20_000 {
            file.push_str(&format!("{{\"line\":{number}}}\n"));
        }
        file.push_str(&"x".repeat(IMPORT_LINE_BYTES_MAX * 5));
        file.push_str("\n{\"line\":\"last\"}");
        let mut advanced = 0;
        let mut rejected = Vec::new();
        let counts = served.client().import(
            Cursor::new(file),
            ImportFormat::Ndjson,
            ImportEncoding::Utf8,
            &mut |event| match event {
                ImportProgress::Advanced(counts) => {
                    advanced += 1;
                    assert_eq!(counts.lines, advanced * 1_000);
                }
                ImportProgress::Rejected { line, .. } => rejected.push(line),
            },
        );
        let expected = ImportCounts { lines: 20_002, imported: 20_001, unchanged: 0, rejected: 1 };
        assert_eq!(counts.unwrap(), expected);
        assert_eq!((advanced, rejected), (20, vec![20_001]));
        let imported = served.process.0.imported.lock().unwrap();
        assert_eq!(imported[19_999], "{\"line\":20000}");
        assert_eq!(imported[20_000], "{\"line\":\"last\"}");
    }

    #[test]
    fn progress_arrives_while_the_file_is_still_being_read() {
        /// Gives 1,000 lines, then waits until progress was heard before it ends.
        struct Waiting(std::sync::mpsc::Receiver<()>, Cursor<Vec<u8>>);

        impl Read for Waiting {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let count = self.1.read(into)?;
                if count == 0 {
                    self.0.recv_timeout(Duration::from_secs(10)).map_err(io::Error::other)?;
                }
                Ok(count)
            }
        }

        let served = Served::start(Scripted::default());
        let (heard, is_heard) = std::sync::mpsc::channel();
        let file = Waiting(is_heard, Cursor::new(b"line\n".repeat(1_000)));
        let counts = served
            .client()
            .import(file, ImportFormat::Csv, ImportEncoding::Utf8, &mut |_| heard.send(()).unwrap());
        assert_eq!(counts.unwrap().imported, 1_000);
    }

    #[test]
    fn an_import_that_fails_early_says_why_though_the_file_goes_on() {
        let served = Served::start(Scripted { fails_at_line: Some(3), ..Scripted::default() });
        let endless = io::repeat(b'\n').take(64 * 1024 * 1024);
        let answer = refused(
            served
                .client()
                .import(endless, ImportFormat::Ndjson, ImportEncoding::Utf8, &mut |_| {})
                .unwrap_err(),
        );
        assert_eq!(
            (answer.code.as_str(), answer.message.as_str()),
            ("failed", "the registry's disk is full")
        );
        assert_eq!(served.process.0.imported.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_backup_streams_out_whole_or_is_told_to_be_none() {
        let whole = Served::start(Scripted { backup_chunks: 50, ..Scripted::default() });
        let mut file = Vec::new();
        assert_eq!(whole.client().back_up(&mut file).unwrap(), 5_000_000);
        assert_eq!(file, vec![b'b'; 5_000_000]);
        let refusing =
            Served::start(Scripted { backup_chunks: 50, backup_fails_at: Some(0), ..Scripted::default() });
        let answer = refused(refusing.client().back_up(&mut file).unwrap_err());
        assert_eq!(
            (answer.code.as_str(), answer.message.as_str()),
            ("failed", "the registry cannot be read")
        );
        let breaking =
            Served::start(Scripted { backup_chunks: 50, backup_fails_at: Some(30), ..Scripted::default() });
        let error = breaking.client().back_up(&mut file).unwrap_err();
        assert!(matches!(error, AdminClientError::BrokenOff(_)), "{error:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_its_end() {
        struct Broken(Cursor<Vec<u8>>);

        impl Read for Broken {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                match self.0.read(into)? {
                    0 => Err(io::Error::other("bad sector")),
                    count => Ok(count),
                }
            }
        }

        let served = Served::start(Scripted::default());
        let file = Broken(Cursor::new(b"one\ntwo\nthr".to_vec()));
        let error = served
            .client()
            .import(file, ImportFormat::Ndjson, ImportEncoding::Utf8, &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, AdminClientError::Unreadable(_)), "{error:?}");
        drop(served.client().status().unwrap());
        assert!(!served.process.0.imported.lock().unwrap().contains(&"thr".to_owned()));
    }

    #[test]
    fn an_encoding_is_passed_on() {
        let served = Served::start(Scripted::default());
        let file = Cursor::new(b"line\n".to_vec());
        let counts = served.client().import(file, ImportFormat::Csv, ImportEncoding::Gb18030, &mut |_| {});
        assert_eq!(counts.unwrap().imported, 1);
        assert_eq!(*served.process.0.encodings.lock().unwrap(), [ImportEncoding::Gb18030]);
    }

    #[test]
    fn an_export_arrives_whole_or_is_an_error() {
        let chunk = |text: &str| Ok(text.as_bytes().to_vec());
        let whole = vec![chunk("one\n"), Ok(vec![b'x'; 300_000]), chunk("\nend\n")];
        let served = Served::start(Scripted { exports: whole.into(), ..Scripted::default() });
        let mut heard = Vec::new();
        served.client().export(&mut heard).unwrap();
        assert!(heard.len() == 300_009 && heard.ends_with(b"\nend\n"));

        let busy = refused(served.client().export(&mut heard).unwrap_err());
        assert_eq!((busy.code.as_str(), busy.message.as_str()), ("busy", "another export is running"));

        let broken = vec![chunk("one\n"), Err("the registry cannot be read")];
        let served = Served::start(Scripted { exports: broken.into(), ..Scripted::default() });
        let error = served.client().export(&mut Vec::new()).unwrap_err();
        assert!(matches!(error, AdminClientError::BrokenOff(_)), "{error:?}");

        let served = Served::start(Scripted { exports: vec![chunk("one\n")].into(), ..Scripted::default() });
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = served.client().export(&mut full).unwrap_err();
        assert!(matches!(error, AdminClientError::Unwritable(_)), "{error:?}");
    }

    #[test]
    fn without_a_gateway_the_client_says_how_to_start_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let error = AdminClient::connect(&path).err().unwrap();
        assert!(matches!(error, AdminClientError::NotRunning { .. }));
        let served = Served::start(Scripted::default());
        let left_behind = served.path.clone();
        drop(served);
        let error = AdminClient::connect(&left_behind).err().unwrap();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("drivegate serve"));
    }
}
