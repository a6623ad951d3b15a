//! A collector for traces as the gateway sees one: HTTP/2 on a free port, every export taken and kept as it came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

/// An empty message behind gRPC's five bytes: everything was taken.
const ALL_TAKEN: &[u8] = &[0; 5];

/// Takes spans until it is dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<u8>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    /// Starts to listen.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let keep = Arc::clone(&taken);
        runtime.spawn(async move {
            while let Ok((stream, _from)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&keep)));
            }
        });
        Self { address, taken, _runtime: runtime }
    }

    /// Where spans are sent, as configuration names it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every byte of every export so far.
    pub(crate) fn taken(&self) -> Vec<u8> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves one connection.
async fn take(stream: TcpStream, keep: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let keep = Arc::clone(&keep);
        // The connection must be polled on for the body to come.
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut came = format!("{:?}\n", head.headers).into_bytes();
            while let Some(Ok(chunk)) = body.data().await {
                let _ = body.flow_control().release_capacity(chunk.len());
                came.extend_from_slice(&chunk);
            }
            keep.lock().unwrap_or_else(PoisonError::into_inner).extend(came);
            let answer = Response::builder().header("content-type", "application/grpc").body(());
            let Ok(mut sender) = respond.send_response(answer.expect("an answer"), false) else { return };
            let _ = sender.send_data(Bytes::from_static(ALL_TAKEN), false);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let _ = sender.send_trailers(trailers);
        });
    }
}
