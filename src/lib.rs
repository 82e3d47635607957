//! tidegate: a rate-limiting HTTP gateway. This page is the map of its source.
//!
//! # Life of a request
//!
//! ```text
//! accept -> TLS -> HTTP/1, HTTP/2   server     bytes become a request
//! access line, metrics, response    gateway    inside, failures are errors; outside, there are only responses
//! ACME, https        200, 308       gateway    challenges that are pending; then the redirect of a listener with `redirect_https`
//! route match on one snapshot       gateway    the request keeps this snapshot to its end, also across reloads
//! preflight               204       gateway    of a route with `cors`; no layer is asked
//! identify         401, 403       layer      who asks: before everything that asks who it is
//! limits                  429       layer      all limits of the route decide together; shared ones in the store; with a delay, a bounded wait
//! total timeout           504       layer      covers queues, attempts and back-off
//! buffers                           layer      if the route has them, slow clients hold no permit and no server
//! concurrency limit       503       layer      a permit, or a bounded wait for one; held to the end of the response body
//! split                             layer      assigns an upstream; retries stay with it
//! upstream's limit        503       layer      the concurrency limit of the upstream, over all routes to it
//! mirror                            layer      copies requests that nothing has refused; a retry is not copied again
//! retry                             layer      budget, back-off with jitter, replay of the body
//! attempt timeout         504       layer      covers one attempt
//! forward                           layer      the fields, path and host for the next hop
//! balance, pool, connect  502       upstream   chooses a healthy server; a request becomes bytes again
//! ```
//!
//! `gateway::stack` writes this order once, outermost first, with a reason for
//! each line. When an inner layer refuses a request, outer layers return what
//! they have taken for it.
//!
//! # The path of a request through the source
//!
//! A plain GET passes these functions. Reading them in this order takes from
//! the first byte to the last; `tests/architecture/path.rs` has all functions on
//! the way, by file.
//!
//! ```text
//! server/accept.rs            accept, Acceptor::admit, spawn           a connection becomes a task
//! server/http1/mod.rs         Connection::run, respond, deliver        one request after the other
//! http1/request.rs            parse_request                            bytes become a head
//! gateway/mod.rs              Gateway::call
//! gateway/enter.rs            enter                                    host, route and client; the exchange begins
//! layer/                      `call` of each layer                     inwards, in the order of `gateway::stack`
//! layer/forward/head.rs       write                                    the head becomes bytes
//! upstream/send.rs            Upstream::send                           a server, a connection, the head of the response
//! upstream/http1/exchange.rs  Http1Exchange::poll, into_response
//! layer/                      `poll` of each future                    outwards
//! gateway/mod.rs              finish                                   fields about limits
//! server/http1/response.rs    Transfer::begin, Transfer::poll          the response is written
//! call/emitted.rs             Exchange::drop                           access line and metrics
//! ```
//!
//! # Modules
//!
//! In the order in which a request meets them:
//!
//! * [`server`]: sockets, workers, accepting, connections; hands each request
//!   to a service.
//! * [`gateway`]: that service: the table of routes and the order of the
//!   layers.
//! * [`layer`]: the policies of a route, one tower layer each.
//! * [`store`]: limits that several gateways share, through Redis or Valkey.
//! * [`upstream`]: chooses a server, checks out a connection, sends, and
//!   classifies failures.
//!
//! Shared by these:
//!
//! * [`call`]: one request on its way through the stack, and the facts that are
//!   emitted about it.
//! * [`message`]: requests and responses between server and gateway.
//! * [`body`]: the body of a message, in either direction, and the guards that
//!   it carries to its end.
//! * [`http1`]: heads, framing and chunks on the wire; [`http2`]: bodies on
//!   streams.
//!
//! Leaves, which know nothing of the rest:
//!
//! * [`policy`]: every policy as plain data, the vocabulary of all others.
//! * [`acme`]: orders certificates, and renews them.
//! * [`identity`]: verifies credentials, and remembers whose they are.
//! * [`limit`]: token buckets in bounded memory.
//! * [`usage`]: what a response says that it cost, read while it passes.
//! * [`telemetry`]: logs, access lines, metrics.
//! * [`error`]: the failures of a request, each with its cause and with who is
//!   to blame.
//! * [`duration`]: durations in words.
//! * [`retry_after`]: the field by which a server asks to be left alone.
//! * [`protobuf`]: the encoding of Protocol Buffers.
//! * [`http_client`]: the few requests that the gateway makes on its own account.
//! * [`tls`]: certificates and handshakes.
//! * [`traces`]: which requests are recorded, and spans on their way to a
//!   collector.
//! * [`runtime`]: a worker's number, its own state, timers, and buffers of
//!   sockets.
//!
//! Around them:
//!
//! * [`config`]: turns files into policies, or reports all of their mistakes.
//! * [`build`]: makes the running parts from a configuration and keeps the
//!   state of the previous ones.
//! * [`app`]: wires everything, reacts to signals, ends in order; the only
//!   module that knows all others.
//! * [`reload`] and [`watch`]: a changed file replaces the running
//!   configuration, or changes nothing.
//! * [`inherited`]: listening sockets from systemd, or from the process that
//!   this one takes over from.
//! * [`admin`]: metrics, health, views and reload over HTTP.
//! * [`cli`]: the commands.
//!
//! `tests/architecture/imports.rs` has a table of the permitted imports.
//!
//! # Invariants
//!
//! * Nothing grows without a bound: keys, queues, connections, heads, buffered
//!   bodies, log lines, retries, waits.
//! * Of several limits, either all take their tokens or none does. Across a
//!   reload, a key keeps its used share.
//! * A request that no server can have seen gets its tokens back.
//! * A request sees one snapshot of the routes. A reload swaps all of it or
//!   nothing.
//! * Every exchange ends in exactly one access line and one count, when its
//!   last holder drops it.
//! * A service is called only after it was ready: each request polls the stack
//!   of its route, one for each worker, and calls it. Layers refuse in `call`;
//!   their `poll_ready` asks the inner service and never waits by itself.
//!
//! # Cancel safety
//!
//! Cancelling is dropping. A request holds guards in its future or in its body:
//! a slot in a queue, a permit, a connection, a count in flight. When the
//! client leaves, the connection's task drops the future and with it each
//! guard. Then the permit goes to the next request in the queue, the upstream's
//! connection is closed unless its response was complete, and the exchange is
//! emitted as `client_gone`, with status 499 if no response had begun. One
//! thing outlives the future. Under a concurrency limit, an HTTP/1 server that
//! has received the request is notified by the end of our sending side, and a
//! task holds the permits until that server closes its side or responds, at
//! most for `attempt` (`upstream::http1`). So a future that is dropped
//! between two awaits needs no clean-up, and no layer has to know why it was
//! dropped. Dropping returns everything but tokens: a client that leaves has
//! used them.
//!
//! # Threads
//!
//! There is one worker thread for each core, each with a current-thread
//! runtime, its own listening sockets and its own pooled connections to
//! upstreams: a request is served on one thread from accept to close. Each
//! worker has its part of the snapshot of the routes, and all share buckets,
//! concurrency limits and budgets as atomics. Metrics are cells of each worker, which a scrape
//! sums. The main thread is the control thread: signals, reloads, names, health
//! checks, the admin listener and the watch on files. Access lines and logs are
//! written by threads of their own, so that a slow reader delays no request.

pub mod acme;
pub mod admin;
pub mod app;
pub mod body;
pub mod build;
pub mod call;
pub mod cli;
pub mod config;
pub mod duration;
pub mod error;
pub mod gateway;
pub mod http1;
pub mod http2;
pub mod http_client;
pub mod identity;
pub mod inherited;
pub mod layer;
pub mod limit;
pub mod message;
pub mod policy;
pub mod protobuf;
pub mod reload;
pub mod retry_after;
pub mod runtime;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod upstream;
pub mod usage;
pub mod watch;
