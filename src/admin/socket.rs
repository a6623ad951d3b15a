//! The operator's socket: a Unix socket only the gateway's own user and root may use.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::connections::{self, Manners};
use super::operations;
use super::ports::{Operator, Status};

/// Connections waiting to be accepted.
const BACKLOG: i32 = 16;

/// The socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another gateway listens there. Stop it, or use another data folder.
    #[error("another gateway listens on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies there. Move it away; it is not removed.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused. Is the folder there and writable, and the path shorter than 108 bytes?
    #[error("cannot open the socket {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The socket, listening. Dropping it removes its file.
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

impl AdminSocket {
    /// Opens the socket at `path`, mode 0600. A file left by a process that died is replaced. Call inside a runtime.
    ///
    /// # Errors
    /// [`SocketError`] says what lies in the way.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        remove_stale(path)?;
        let failed = |source| SocketError::Io { path: path.to_path_buf(), source };
        let listener = listen(path).map_err(failed)?;
        let file = SocketFile::at(path).map_err(failed)?;
        Ok(Self { listener, file })
    }

    /// Serves operators until told to stop.
    pub async fn serve(self, operator: Arc<dyn Operator>, status: Arc<dyn Status>, stop: CancellationToken) {
        let router = operations::router(operator, status);
        let accept = || accept_own(&self.listener);
        connections::serve(accept, router, Manners::OneAtATime, stop).await;
        drop(self.file);
    }
}

/// Accepts the next connection of this process's own user or of root; others are closed without a word.
async fn accept_own(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if may_operate(peer) {
            return Ok(stream);
        }
        tracing::warn!(uid = peer, "a foreign user tried the operator's socket");
    }
}

fn may_operate(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Binds, then narrows the mode, then listens: until it listens nobody can connect, so the mode is never too wide
/// whatever the process's umask is.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Removes a socket nobody listens on. Two gateways starting at the same moment are told apart by the registry, which
/// opens in one process only.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_path_buf(), source };
    let known = match std::fs::symlink_metadata(path) {
        Ok(known) => known,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !known.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_path_buf() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(SocketError::InUse { path: path.to_path_buf() }),
    }
}

/// Removes the socket's file on drop, unless another has taken its place.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|present| present == self.identity) {
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let known = std::fs::symlink_metadata(path)?;
    Ok((known.dev(), known.ino()))
}
