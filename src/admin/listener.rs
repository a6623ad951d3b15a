//! A listener for HTTP pages, bound before anything is served: its address is known then, and a port that is taken is told.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections::{self, Manners};

/// The longest life of a connection; a scraper or a follower connects again.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);

/// The listener, bound.
pub struct HttpListener {
    listener: TcpListener,
    local: SocketAddr,
}

impl HttpListener {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }

    /// Returns the address bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until told to stop.
    pub(super) async fn serve(self, router: Router, stop: CancellationToken) {
        let manners = Manners::AnyVersion { age_max: CONNECTION_AGE_MAX };
        let accept = || async { self.listener.accept().await.map(|(stream, _)| stream) };
        connections::serve(accept, router, manners, stop).await;
    }
}
