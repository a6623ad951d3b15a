//! A wire that can be slow, hang, break, and lead elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does to bytes that come in, either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manner {
    /// Passes them on.
    Well,
    /// Passes them on after this long.
    Slow(Duration),
    /// Keeps them until it does something else.
    Hanging,
}

/// A port of the loopback that leads to another one.
pub(super) struct Proxy {
    pub(super) port: u16,
    target: Arc<Mutex<u16>>,
    manner: watch::Sender<Manner>,
    /// Raised to break every connection there is.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a wire on the calling runtime.
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let proxy = Self {
            port: listener.local_addr().expect("it is bound").port(),
            target: Arc::new(Mutex::new(port)),
            manner: watch::channel(Manner::Well).0,
            cuts: watch::channel(0).0,
        };
        let (target, manner, cuts) =
            (Arc::clone(&proxy.target), proxy.manner.subscribe(), proxy.cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let port = *target.lock().unwrap();
                let (manner, cuts) = (manner.clone(), cuts.clone());
                tokio::spawn(async move { join(near, port, manner, cuts).await });
            }
        });
        proxy
    }

    pub(super) fn becomes(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Leads elsewhere from now on; what is open breaks.
    pub(super) fn leads_to(&self, port: u16) {
        *self.target.lock().unwrap() = port;
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn join(near: TcpStream, port: u16, manner: watch::Receiver<Manner>, mut cuts: watch::Receiver<u64>) {
    cuts.mark_unchanged();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pass(near_in, far_out, manner.clone()) => {}
        () = pass(far_in, near_out, manner) => {}
        _ = cuts.changed() => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut manner: watch::Receiver<Manner>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        let now = *manner.borrow();
        if let Manner::Slow(by) = now {
            tokio::time::sleep(by).await;
        }
        if manner.wait_for(|manner| *manner != Manner::Hanging).await.is_err() {
            return;
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
