//! The script, called by its digest: its text goes to a server once.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

const TEXT: &str = include_str!("script.lua");

/// The script and the digest Redis knows it by (SHA-1, as EVALSHA demands; nothing rests on its strength).
pub(super) struct Script {
    digest: String,
}

impl Script {
    pub(super) fn new() -> Self {
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, TEXT.as_bytes());
        Self { digest: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// Runs it. A server that does not know it (a new one, or a node of a Cluster not called before) is sent the text.
    ///
    /// # Errors
    /// Whatever Redis or the connection says.
    pub(super) async fn run(
        &self,
        connection: &mut impl ConnectionLike,
        key: &str,
        replica: &str,
        arguments: &[i64],
    ) -> Result<Vec<i64>, RedisError> {
        let call = |how: &str, script: &str| {
            let mut command = Cmd::new();
            command.arg(how).arg(script).arg(1).arg(key).arg(replica).arg(arguments);
            command
        };
        match call("EVALSHA", &self.digest).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", TEXT).query_async(connection).await
            }
            done => done,
        }
    }
}
