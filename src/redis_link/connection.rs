//! One connection for many calls at once, whatever stands behind it.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, Value};

/// Knows where Redis is, and connects to it.
#[derive(Clone)]
pub struct RedisClient(Behind<Client, ClusterClient>);

/// A connection to one server, or to every node of a Cluster. Clones share it: calls go out together and wait for nobody's answer but
/// their own.
///
/// It bounds no call of one server, and no queue: callers do both. In a Cluster every command goes to the node of its key's slot, after
/// MOVED and ASK to the one they name; commands of one pipeline, and the keys of one script, must lie in one slot.
#[derive(Clone)]
pub struct Connection(Behind<MultiplexedConnection, ClusterConnection>);

#[derive(Clone)]
enum Behind<S, C> {
    Server(S),
    Cluster(C),
}

/// Calls a connection takes before callers wait to hand theirs over.
const CALLS_QUEUED: usize = 1_024;

impl RedisClient {
    pub(super) fn server(client: Client) -> Self {
        Self(Behind::Server(client))
    }

    pub(super) fn cluster(client: ClusterClient) -> Self {
        Self(Behind::Cluster(client))
    }

    /// Says whether keys are spread over slots.
    pub fn has_slots(&self) -> bool {
        matches!(self.0, Behind::Cluster(_))
    }

    /// Connects; the connection lives on the calling runtime. May take as long as Redis hangs: put a bound around it. A connection to
    /// one server is over with its socket; one to a Cluster brings its nodes back by itself, but not the moment they are all gone.
    ///
    /// # Errors
    /// No server, or no node of a Cluster, let us in.
    pub async fn connect(&self) -> Result<Connection, RedisError> {
        match &self.0 {
            Behind::Server(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None)
                    .set_pipeline_buffer_size(CALLS_QUEUED);
                let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                Ok(Connection(Behind::Server(connection)))
            }
            Behind::Cluster(client) => Ok(Connection(Behind::Cluster(client.get_async_connection().await?))),
        }
    }
}

impl Connection {
    /// Asks one thing, which nothing is kept on the heap for, as the trait's way must.
    ///
    /// # Errors
    /// The connection is lost, or the answer is none. What the server says against the command is a value: take it out with
    /// [`Value::extract_error`].
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match &mut self.0 {
            Behind::Server(connection) => connection.send_packed_command(command).await,
            Behind::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.0 {
            Behind::Server(connection) => connection.req_packed_command(command),
            Behind::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.0 {
            Behind::Server(connection) => connection.req_packed_commands(commands, offset, count),
            Behind::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.0 {
            Behind::Server(connection) => connection.get_db(),
            Behind::Cluster(connection) => connection.get_db(),
        }
    }
}
