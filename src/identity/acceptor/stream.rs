//! An accepted connection, as the gRPC server reads and writes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::CoreLoad;
use super::places::{CorePlace, Place};
use crate::admission::InFlight;
use crate::domain::partner::PartnerId;
use crate::identity::Connection;

/// A TLS stream that knows its partner. Its places are freed when it is dropped, even if requests still hold its
/// [`Connection`].
pub struct PartnerStream {
    inner: TlsStream<TcpStream>,
    connection: Connection,
    #[allow(dead_code, reason = "held for its drop")]
    places: (Place, CorePlace, Option<InFlight>),
    load: Arc<CoreLoad>,
    partner: Option<PartnerId>,
    /// It is not read, and waits for its turn.
    is_paused: Arc<AtomicBool>,
    /// Bytes read since others had a turn.
    read: usize,
}

/// While its core is busy a socket is read so many bytes at a time: a dozen requests, so that one read does not overrun the bound.
const PIECE: usize = 4 * 1024;

impl PartnerStream {
    pub(super) fn new(
        inner: TlsStream<TcpStream>,
        connection: Connection,
        places: (Place, CorePlace, Option<InFlight>),
        load: Arc<CoreLoad>,
        partner: Option<PartnerId>,
    ) -> Self {
        Self { inner, connection, places, load, partner, is_paused: Arc::default(), read: 0 }
    }

    /// Says whether the socket may be read now; if not, the task is woken when it may.
    fn may_read(&mut self, cx: &Context<'_>) -> bool {
        if !self.load.may_read() {
            self.read = 0;
            self.load.pause(self.partner.as_ref(), cx.waker(), &self.is_paused);
            return false;
        }
        if self.read >= PIECE && self.load.is_busy() {
            // What was read is begun first, and the others have their turn.
            self.read = 0;
            cx.waker().wake_by_ref();
            return false;
        }
        true
    }

    /// Returns what is known of the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for PartnerStream {
    fn drop(&mut self) {
        // It may have been woken and never have read: its turn goes on.
        self.load.wake_next();
    }
}

impl Connected for PartnerStream {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for PartnerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.may_read(cx) {
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, into);
        this.read = if read.is_pending() { 0 } else { this.read + into.filled().len() - before };
        // Its turn is taken: the next socket may have one, too.
        this.load.wake_next();
        read
    }
}

impl AsyncWrite for PartnerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
