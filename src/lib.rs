//! tidegate: a rate-limiting HTTP gateway. This page is the map of its source.
//!
//! # Life of a request
//!
//! ```text
//! accept -> TLS -> HTTP/1, HTTP/2 server     bytes become a request
//! access line, metrics, answer   gateway    below it there are errors, above it only responses
//! route match on one snapshot    gateway    the request keeps this snapshot to its end, whatever is reloaded
//! limits                  429    layer      all of the route's limits decide together; shared ones in the store
//! deadline                504    layer      covers waiting, attempts and back-off
//! buffers                        layer      where the route has them: slow clients hold no place and no server
//! concurrency cap         503    layer      a place, or a bounded wait for one; kept to the end of the response's body
//! split                          layer      a retry stays within the upstream that was drawn
//! upstream's cap          503    layer      the same over all routes to the upstream
//! copy to a mirror               layer      of what nothing here refused; it is not copied again by a retry
//! retry                          layer      budget, back-off with jitter, replay buffer
//! attempt timeout         504    layer
//! forward                        layer      what the next hop is sent: fields, path, host
//! balance, pool, connect  502    upstream   a server that is well; a request becomes bytes again
//! ```
//!
//! The order is written once, outermost first, in `gateway::stack`, each line with its reason. A refusal further in
//! gives back what was taken further out.
//!
//! # Modules
//!
//! In the order in which a request meets them:
//!
//! * [`server`]: sockets in, requests out to whatever service it is given; workers, accepting, connections.
//! * [`gateway`]: the service; the table of routes, the order of the layers.
//! * [`layer`]: the policies of a route, one tower layer each.
//! * [`store`]: limits shared with other gateways, through Redis or Valkey.
//! * [`upstream`]: choose a server, find or make a connection, send, classify the failure.
//!
//! What these share:
//!
//! * [`call`]: one request on its way through the stack, and what is noted of it.
//! * [`message`]: requests and responses between server and gateway.
//! * [`body`]: the body of a message, in either direction, and what is held until its end.
//! * [`http1`]: heads, framing and chunks on the wire; [`http2`]: bodies on streams.
//!
//! Leaves, which know nothing of the rest:
//!
//! * [`config`]: a TOML file in, a checked configuration or all of its mistakes out.
//! * [`policy`]: every policy as plain data: what a configuration resolves to, and what the rest is built from.
//! * [`limit`]: token buckets in bounded memory.
//! * [`telemetry`]: logs, access lines, metrics.
//! * [`error`]: what can go wrong with a request, each case naming cause and culprit.
//! * [`duration`]: durations in words.
//! * [`tls`]: certificates, handshakes, and what they show.
//! * [`runtime`]: what a worker thread needs: its number, state of its own, timers, buffers of sockets.
//!
//! Around it:
//!
//! * [`build`]: from a configuration to what serves, with the state of the one before it carried over.
//! * [`app`]: wires everything, reacts to signals, ends in order; the only file that knows every module.
//! * [`reload`] and [`watch`]: a changed file becomes what serves, or changes nothing.
//! * [`inherited`]: listening sockets from systemd, or from the process that this one takes over from.
//! * [`admin`]: metrics, health, views and reload over HTTP.
//! * [`cli`]: the commands.
//!
//! Who may import whom is a table in `tests/architecture/imports.rs`.
//!
//! # Invariants
//!
//! * Nothing grows without a bound: keys, queues, connections, heads, kept bodies, log lines, retries, waits.
//! * Of several limits either all take their token or none does; over a reload a key keeps the share that is used.
//! * What was taken is given back when no server could have served the request.
//! * A request sees one snapshot of the routes. A reload swaps all of it or nothing.
//! * Every exchange ends in exactly one access line and one count, when its last holder lets go.
//! * Layers refuse in `call`; `poll_ready` never waits.
//!
//! # Cancel safety
//!
//! Cancelling is dropping. What a request holds is a guard that travels in its future or in its body: a place in the
//! queue, a place under the cap, a connection, a count in flight. When the client goes away, the connection's task drops
//! the future, and with it each guard: the place is free for the next in line, the upstream's connection is
//! closed unless its answer was complete, and the exchange is told with `client_gone`, and
//! with status 499 where no answer had begun. One thing outlives it: where a cap
//! applies, an HTTP/1 server that was sent the request is told by the end of our sending side, and the permits are held
//! by a task until that server ends its side or answers, at most for `attempt` (`upstream::exchange`). A future that is dropped between
//! two awaits has therefore nothing left to clean up, and no layer needs to know why it was dropped. Tokens are the one
//! thing that is not returned by being dropped: a client that leaves has used them.
//!
//! # Threads
//!
//! One worker thread for each core, each with a current-thread runtime, its own listening sockets and its own kept
//! connections to upstreams: a request is served on one thread from accept to close. Shared by all workers are the
//! snapshot of the routes, buckets, caps and budgets, as atomics; metrics are cells of each worker, summed when somebody
//! scrapes. The main thread is the control thread: signals, reloads, names, health checks, the admin listener and the
//! watch on files. Access lines and logs are written by threads of their own, so that a slow reader is nobody's wait.

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
pub mod inherited;
pub mod layer;
pub mod limit;
pub mod message;
pub mod policy;
pub mod reload;
pub mod runtime;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod watch;
