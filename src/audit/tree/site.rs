//! A small HTTP client: one request a connection, everything bounded. Whatever comes back is verified by whoever asked.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest a request may take, connecting included.
const WITHIN: Duration = Duration::from_secs(2);
/// The largest answer: a full bundle of the longest entries has 1 MiB.
const BYTES_MAX: usize = 2 << 20;

/// Where a log or a witness is.
#[derive(Clone, Debug)]
pub(in crate::audit) struct Site {
    authority: String,
    address: String,
    path: String,
}

/// Why a site did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum SiteFault {
    /// The URL cannot be used: `http://host:port`, perhaps with a path.
    #[error("the URL must be http://host:port, perhaps with a path")]
    Url,
    /// It cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// It did not speak HTTP, or the answer is too large.
    #[error("no usable answer")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within 2 s")]
    TooLate,
}

impl Site {
    /// Reads a URL.
    pub(in crate::audit) fn parse(url: &str) -> Result<Self, SiteFault> {
        let uri: Uri = url.parse().map_err(|_| SiteFault::Url)?;
        let authority = uri.authority().ok_or(SiteFault::Url)?;
        let plain =
            uri.scheme_str() == Some("http") && uri.query().is_none() && !authority.as_str().contains('@');
        if !plain {
            return Err(SiteFault::Url);
        }
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { authority: authority.to_string(), address, path })
    }

    /// Gets a resource below the site's path.
    pub(in crate::audit) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), SiteFault> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Posts a body.
    pub(in crate::audit) async fn post(
        &self,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), SiteFault> {
        self.ask(Method::POST, path, body).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), SiteFault> {
        let answer = tokio::time::timeout(WITHIN, self.ask_at_leisure(method, path, body)).await;
        answer.unwrap_or(Err(SiteFault::TooLate))
    }

    async fn ask_at_leisure(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), SiteFault> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|source| SiteFault::Connect { address: self.address.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.path))
            .header(header::HOST, &self.authority)
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(no_http)?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(no_http)?;
            let status = response.status();
            let body =
                Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(SiteFault::Http)?;
            Ok((status, body.to_bytes()))
        };
        // The connection is driven here, so that nothing stays behind when the time is over.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(no_http(error)),
            },
        }
    }
}

fn no_http(error: impl std::error::Error + Send + Sync + 'static) -> SiteFault {
    SiteFault::Http(Box::new(error))
}
