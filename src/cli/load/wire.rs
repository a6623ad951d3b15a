//! One HTTP/2 connection that sends requests encoded beforehand.
//!
//! Below tonic on purpose: the client shares a machine with what it measures, and a load generator that is the
//! bottleneck measures itself. What goes over the wire is the same as from the generated client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use prost::Message as _;
use tonic_types::pb;

use super::measured::Ended;
use crate::cli::verify::connection::Target;
use crate::identity::client::{ClientError, ClientTls};

/// Received bytes a connection may hold before it must be told to go on; answers are a few hundred bytes.
const WINDOW: u32 = 4 * 1024 * 1024;
/// Compression flag and length before each gRPC message.
const FRAME_HEAD: usize = 5;
/// The status header of gRPC.
const GRPC_STATUS: &str = "grpc-status";
/// The details of a failure, encoded.
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// A connection; clones share it.
#[derive(Clone)]
pub struct Wire {
    sender: SendRequest<Bytes>,
    template: Request<()>,
    gone: Arc<AtomicBool>,
}

/// Why a connection could not be made or is gone.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No socket, or no TLS session.
    #[error(transparent)]
    Connect(#[from] ClientError),
    /// The HTTP/2 layer gave up.
    #[error("connection lost")]
    Lost(#[from] h2::Error),
    /// The method's path is no URI.
    #[error("cannot build requests")]
    Request(#[from] http::Error),
}

/// Puts the gRPC frame around an encoded message.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME_HEAD + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

impl Wire {
    /// Connects, and drives the connection on the current runtime until it ends.
    ///
    /// # Errors
    /// See [`WireError`].
    pub async fn connect(
        target: &Target,
        tls: &ClientTls,
        path: &str,
        timeout: Duration,
    ) -> Result<Self, WireError> {
        let stream = target.open(tls).await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        let gone = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&gone);
        tokio::spawn(async move {
            // Whatever ended it, its streams tell.
            let _result = connection.await;
            ended.store(true, Ordering::Relaxed);
        });
        let template = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("{}{path}", target.origin()))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("drivegate-load/", env!("CARGO_PKG_VERSION")))
            .header("grpc-timeout", format!("{}m", timeout.as_millis().min(99_999_999)))
            .body(())?;
        Ok(Self { sender: sender.ready().await?, template, gone })
    }

    /// Sends one framed message and waits for its status.
    ///
    /// # Errors
    /// [`WireError::Lost`] when the connection is gone; a status, whatever it says, is no error here.
    pub async fn call(&mut self, framed: &Bytes) -> Result<Ended, WireError> {
        let response = self.send(framed).await?.await?;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            return Ok(Ended::Failed(format!("HTTP {}", head.status.as_u16())));
        }
        if head.headers.contains_key(GRPC_STATUS) {
            return Ok(outcome(&head.headers, 0));
        }
        let mut first = 0;
        let mut received = 0;
        while let Some(data) = body.data().await {
            let data = data?;
            if received <= FRAME_HEAD + 1 {
                first = decision_in(&data, received).unwrap_or(first);
            }
            received += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        let trailers = body.trailers().await?;
        Ok(trailers
            .map_or_else(|| Ended::Failed("no status".to_owned()), |trailers| outcome(&trailers, first)))
    }

    /// Returns whether the connection has ended.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    async fn send(&mut self, framed: &Bytes) -> Result<ResponseFuture, h2::Error> {
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (response, mut stream) = self.sender.send_request(self.template.clone(), false)?;
        stream.send_data(framed.clone(), true)?;
        Ok(response)
    }
}

/// Returns the decision of an answer's first data frame: field 1 is a number and is written first, so that counting
/// decisions needs no decoding.
fn decision_in(data: &[u8], received: usize) -> Option<u8> {
    match data.get(FRAME_HEAD..FRAME_HEAD + 2)? {
        [0x08, decision] if received == 0 => Some(*decision),
        _ => None,
    }
}

fn outcome(headers: &HeaderMap, decision: u8) -> Ended {
    let status = headers.get(GRPC_STATUS).map(HeaderValue::as_bytes);
    match status {
        Some(b"0") => Ended::Answered(decision),
        Some(code) => {
            let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).unwrap_or(2);
            let code = format!("{:?}", tonic::Code::from_i32(code));
            Ended::Failed(
                reason_in(headers).map_or_else(|| code.clone(), |reason| format!("{code} {reason}")),
            )
        }
        None => Ended::Failed("no status".to_owned()),
    }
}

/// Returns the reason of the details' ErrorInfo.
fn reason_in(headers: &HeaderMap) -> Option<String> {
    let details = headers.get(GRPC_DETAILS)?.to_str().ok()?;
    let bytes = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).ok()?;
    let status = pb::Status::decode(bytes.as_slice()).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    let info = pb::ErrorInfo::decode(info.value.as_slice()).ok()?;
    Some(info.reason)
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn failures_are_told_apart_by_code_and_reason() {
        let details = ErrorDetails::with_error_info("RATE_EXCEEDED", "drivegate.v1", []);
        let status = tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "rate", details);
        let response = status.into_http::<String>();
        let ended = outcome(response.headers(), 0);
        assert_eq!(ended, Ended::Failed("ResourceExhausted RATE_EXCEEDED".to_owned()));
        let bare = tonic::Status::unavailable("gone").into_http::<String>();
        assert_eq!(outcome(bare.headers(), 0), Ended::Failed("Unavailable".to_owned()));
        assert_eq!(outcome(&HeaderMap::new(), 0), Ended::Failed("no status".to_owned()));
    }

    #[test]
    fn the_decision_is_read_from_the_first_field() {
        let answer =
            crate::gateway::proto::VerifyResponse { decision: 2, charged: true, ..Default::default() };
        let framed = frame(&answer.encode_to_vec());
        assert_eq!(decision_in(&framed, 0), Some(2));
        assert_eq!(decision_in(&framed, 3), None);
        assert_eq!(decision_in(&framed[..3], 0), None);
    }
}
