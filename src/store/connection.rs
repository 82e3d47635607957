//! One connection to the store. All calls of a worker go through it, each
//! without waiting for the responses to others (pipelining).
//!
//! The connection is that of the `redis` crate. Its driver is a task on the
//! runtime of the worker that made it, so that no response crosses threads. A
//! worker has one connection, whatever the number of its requests.
//!
//! A single server's calls have no timeout in here. The deadline of the request
//! drops the future, and the driver discards the response when it comes.

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
    caps::{CapQuestion, CapReply, CapScript, GatewayId},
    script::{QuestionKind, Script, ScriptQuestion},
    share::Reply,
};
use crate::{
    limit::Gcra,
    policy::{self, StoreServer},
};

/// Longest time for name resolution, TCP, TLS and login together. No request
/// waits that long: each has its own deadline.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time for a connection to one node of a cluster: a node that hangs
/// must not use up the time of all.
const CONNECT_NODE: Duration = Duration::from_millis(500);
/// Redirections (MOVED, ASK) that a call to a cluster follows.
const REDIRECTIONS: u32 = 3;

/// A connection. A clone is another handle to the same one.
///
/// Cloning is cheap, and each call has a clone.
#[derive(Clone)]
pub(super) enum StoreConnection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

impl StoreConnection {
    /// Makes a connection, whose driver runs on this worker.
    ///
    /// # Errors
    /// No server responds, TLS fails, the login is refused, or it all took more
    /// than two seconds.
    pub(super) async fn open(settings: &policy::Store) -> RedisResult<Self> {
        let timed_out =
            |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "connecting took too long");
        tokio::time::timeout(CONNECT, Self::connect(settings))
            .await
            .map_err(timed_out)?
    }

    /// Makes a connection, for as long as it takes.
    ///
    /// A single server is the first one that is configured. For a cluster all
    /// servers are tried as the first contact; the rest of the nodes comes from
    /// the cluster itself.
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

    /// Asks buckets that decide together; in a cluster only one.
    ///
    /// # Errors
    /// The connection broke, or the store refused the script.
    pub(super) async fn ask(
        &mut self,
        script: &Script,
        questions: &[ScriptQuestion],
    ) -> RedisResult<Vec<Reply>> {
        match self {
            Self::Single(connection) => script.ask(connection, questions).await,
            Self::Cluster(connection) => script.ask(connection, questions).await,
        }
    }

    /// Asks about shared caps; in a cluster about one key only.
    ///
    /// # Errors
    /// The connection broke, or the store refused the script.
    pub(super) async fn ask_caps(
        &mut self,
        script: &CapScript,
        gateway: &GatewayId,
        questions: &[CapQuestion],
    ) -> RedisResult<Vec<CapReply>> {
        match self {
            Self::Single(connection) => script.ask(connection, gateway, questions).await,
            Self::Cluster(connection) => script.ask(connection, gateway, questions).await,
        }
    }

    /// Removes a key: its bucket is full then.
    ///
    /// # Errors
    /// The connection broke, or the store refused.
    pub(super) async fn delete(&mut self, key: &str) -> RedisResult<()> {
        let mut command = redis::cmd("DEL");
        command.arg(key);
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Asks a cluster which node holds which slots (`CLUSTER SLOTS`); any node
    /// can tell.
    ///
    /// # Errors
    /// No node responded.
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

    /// Checks that the store can do its work: it has to take a token, of this
    /// key, that is back at once. A read-only replica fails.
    ///
    /// The bucket is full again after a nanosecond, and the key expires within
    /// a few milliseconds, so that a probe needs no clean-up.
    ///
    /// # Errors
    /// It cannot.
    pub(super) async fn probe(&mut self, script: &Script, key: String) -> RedisResult<()> {
        let gcra = Gcra::from_parts(1, 1);
        let question = ScriptQuestion {
            key,
            gcra,
            want: QuestionKind::Take(1),
            ahead: 0,
        };
        self.ask(script, &[question]).await.map(drop)
    }
}

impl std::fmt::Debug for StoreConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_single() {
            "Single"
        } else {
            "Cluster"
        })
    }
}

/// The address and the login of a server, in the terms of the `redis` crate.
///
/// TLS always verifies the server's certificate.
///
/// # Errors
/// The crate cannot express the address or the login.
fn address(server: &StoreServer) -> RedisResult<ConnectionInfo> {
    let host = server.host.to_string();
    let port = server.port;
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

/// Settings of sockets. Calls are small, and many share a connection: without
/// `TCP_NODELAY` each would wait for the acknowledgement of the one before
/// (Nagle's algorithm, RFC 896), which is a round trip.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}
