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

use super::report::{
    ErrorBody, ImportCounts, ImportEvent, ImportFormat, ImportProgress, PartnerLine, ReloadReport,
    StatusReport,
};

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

    /// Suspends a partner; `reason` is kept with the standing and shown to operators.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn suspend(&self, partner: &str, reason: &str) -> Result<PartnerLine, AdminClientError> {
        let body = serde_json::json!({ "reason": reason }).to_string();
        self.ask(Method::POST, &format!("/v1/partners/{partner}/suspend"), body)
    }

    /// Lifts a partner's suspension.
    ///
    /// # Errors
    /// As [`AdminClientError`] says.
    pub fn resume(&self, partner: &str) -> Result<PartnerLine, AdminClientError> {
        self.ask(Method::POST, &format!("/v1/partners/{partner}/resume"), String::new())
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

    /// Imports licences through the gateway that holds the registry open. `progress` hears of counts and of refused
    /// lines as they come; it takes as long as the reader takes.
    ///
    /// # Errors
    /// As [`AdminClientError`] says. What was imported before an error stays: importing is idempotent.
    pub fn import(
        &self,
        reader: impl Read + Send + 'static,
        format: ImportFormat,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportCounts, AdminClientError> {
        let (chunks, body) = mpsc::channel(IMPORT_CHUNKS_AHEAD);
        let (fault_into, mut fault) = oneshot::channel();
        std::thread::spawn(move || {
            if let Some(unreadable) = send_chunks(reader, &chunks) {
                fault_into.send(unreadable).unwrap_or_default();
            }
        });
        let body = StreamBody::new(ReceiverStream::new(body).map(|chunk| chunk.map(Frame::data)));
        let outcome = self.runtime.block_on(async {
            let path = format!("/v1/registry/import?format={}", format.word());
            let response = self.send(Method::POST, &path, body.boxed_unsync()).await?;
            read_events(response, progress).await
        });
        outcome.map_err(|error| fault.try_recv().map_or(error, AdminClientError::Unreadable))
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

/// Reads the file and hands on its chunks; returns why it could not be read. Stops when nobody takes them any more.
fn send_chunks(mut reader: impl Read, chunks: &mpsc::Sender<io::Result<Bytes>>) -> Option<io::Error> {
    loop {
        let mut chunk = vec![0; IMPORT_CHUNK_BYTES];
        match reader.read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => {
                chunk.truncate(count);
                chunks.blocking_send(Ok(chunk.into())).ok()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                // The gateway must see a broken body, not an end: half a line at the end is no licence.
                chunks.blocking_send(Err(error.kind().into())).ok();
                return Some(error);
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
