//! One connection to the store: all calls of a worker go through it, each
//! without waiting for the others' answers.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
    io::tcp::TcpSettings,
};

use super::{
    script::{Question, Script, Want},
    share::{Pace, Told},
};
use crate::policy::{self, StoreServer};

/// Longest time for name, TCP, TLS and password together. Nobody's request
/// waits for it.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time for a connection to one node of a cluster: a node that hangs
/// must not use up the time of all.
const CONNECT_NODE: Duration = Duration::from_millis(500);
/// Redirections that a call to a cluster follows.
const REDIRECTIONS: u32 = 3;

/// Cloning shares it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Makes one; its driver lives on this worker's runtime.
    ///
    /// # Errors
    /// No server, no TLS, a wrong password.
    pub(super) async fn open(settings: &policy::Store) -> RedisResult<Self> {
        let timed_out =
            |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "connecting took too long");
        tokio::time::timeout(CONNECT, Self::connect(settings))
            .await
            .map_err(timed_out)?
    }

    async fn connect(settings: &policy::Store) -> RedisResult<Self> {
        let mut servers = settings
            .servers
            .iter()
            .map(address)
            .collect::<RedisResult<Vec<_>>>()?;
        if settings.is_cluster {
            let cluster = ClusterClientBuilder::new(servers)
                .tcp_settings(tcp())
                .retries(REDIRECTIONS)
                .connection_timeout(CONNECT_NODE)
                .response_timeout(CONNECT)
                .build()?;
            return Ok(Self::Cluster(cluster.get_async_connection().await?));
        }
        // Each request has a deadline of its own; a second one in here would
        // only be another timer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = Client::open(servers.swap_remove(0))?;
        Ok(Self::Single(
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await?,
        ))
    }

    /// Whether buckets can decide together in one call.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::Single(_))
    }

    /// Asks buckets that decide together; of a cluster only one.
    pub(super) async fn ask(
        &mut self,
        script: &Script,
        questions: &[Question],
    ) -> RedisResult<Vec<Told>> {
        match self {
            Self::Single(connection) => script.ask(connection, questions).await,
            Self::Cluster(connection) => script.ask(connection, questions).await,
        }
    }

    /// Removes a key.
    pub(super) async fn delete(&mut self, key: &str) -> RedisResult<()> {
        let mut command = redis::cmd("DEL");
        command.arg(key);
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Asks a cluster which node holds which slots; any node can tell.
    pub(super) async fn slots(&mut self) -> RedisResult<Value> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => {
                connection
                    .route_command(
                        command,
                        RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random),
                    )
                    .await
            }
        }
    }

    /// Whether the store can do what it is there for: take a token, of this
    /// key, that is back at once.
    pub(super) async fn probe(&mut self, script: &Script, key: String) -> RedisResult<()> {
        let pace = Pace {
            emission: 1,
            fill: 1,
        };
        let question = Question {
            key,
            pace,
            want: Want::Take(1),
            ahead: 0,
        };
        self.ask(script, &[question]).await.map(drop)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_single() {
            "Single"
        } else {
            "Cluster"
        })
    }
}

fn address(server: &StoreServer) -> RedisResult<ConnectionInfo> {
    let (host, port) = (server.host.to_string(), server.port);
    let address = if server.tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default().set_db(server.database.into());
    if let Some(user) = &server.user {
        login = login.set_username(user);
    }
    if let Some(password) = &server.password {
        login = login.set_password(&password.0);
    }
    Ok(address
        .into_connection_info()?
        .set_redis_settings(login)
        .set_tcp_settings(tcp()))
}

/// Calls are small, and many share a connection: without this each would wait
/// for the acknowledgement of the one before (Nagle's algorithm, RFC 896),
/// which is a round trip.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}
