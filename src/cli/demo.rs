//! `tidegate demo`: a gateway and a small service behind it in one process,
//! with commands to see limits, queueing and retries at work.
//!
//! Its configuration is a text as users write it, which `--print-config` prints
//! as a file to begin with.
//!
//! The demo runs the same code as `tidegate run`: `app::run` gets the text in
//! place of a file, and everything from the parser to the drain is that of a
//! gateway in production. Only the ports differ. Each one falls back to a free
//! port if the usual one is taken, so that the demo starts on every machine,
//! beside another gateway as well.
//!
//! The port of the service is chosen by the system, and is known before the
//! configuration is written. With `--print-config` nothing is started and no
//! port is tried: the text has the documented ports, and the service at port
//! 9000 of the loopback interface.
//!
//! The commands of the banner are shown only when the gateway serves, with the
//! addresses that it is bound to.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use clap::Args;

use super::{
    arguments::{ADMIN_PORT, admin, free, in_arguments},
    output::{end, fail, print},
    sample,
};
use crate::{
    app::{self, Ready},
    reload::ConfigSource,
};

/// Start a gateway to play with, with a small service behind it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where clients connect [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Metrics and health [default: 127.0.0.1:9901, or a free port]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Print its configuration, and start nothing
    #[arg(long)]
    print_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidegate demo                           prints commands to try in another terminal; Ctrl-C ends it
  tidegate demo --listen 127.0.0.1:9000
  tidegate demo --print-config            a file to begin with";

/// The port for clients, unless another is given or this one is taken.
const PORT: u16 = 8080;

/// The service in a printed configuration: the port of the smallest example.
const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);

/// Starts both, or prints the configuration.
///
/// Blocks until the gateway has ended. The sample service is not ended in
/// order: its thread goes with the process.
///
/// A port may be taken between the look for a free one and the start of the
/// gateway. The start then fails with a message that names the argument.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.print_config {
        let listen = (Ipv4Addr::LOCALHOST, PORT).into();
        let admin = (Ipv4Addr::LOCALHOST, ADMIN_PORT).into();
        let listen = arguments.listen.unwrap_or(listen);
        let admin = arguments.admin.unwrap_or(admin);
        return print(text(listen, admin, SERVICE).trim_start());
    }
    let service = match sample::start() {
        Ok(service) => service,
        Err(error) => return fail(format!("cannot start the sample service ({error})")),
    };
    let listen = arguments
        .listen
        .unwrap_or_else(|| free(Ipv4Addr::LOCALHOST.into(), PORT));
    let admin = arguments.admin.unwrap_or_else(|| admin(Some(listen)));
    let source = ConfigSource::Text {
        name: "demo",
        text: text(listen, admin, service),
    };
    let result = app::run(
        source,
        Box::new(move |ready| {
            print(&banner(ready, service));
        }),
    );
    end(result.map_err(in_arguments))
}

/// The configuration of the demo.
///
/// The first route has no policy, and each other one shows a single policy: a
/// limit of 1 request in a second with a burst of 5, a limit for each user, a
/// limit on what answers cost, one that lets requests wait, one that bans, a
/// concurrency limit of 2 with a queue of 2, and up to 3 attempts. The log is
/// at `warn`, since the access lines on stdout are the point of the demo.
///
/// A test parses the text, since users begin with it.
fn text(listen: SocketAddr, admin: SocketAddr, service: SocketAddr) -> String {
    format!(
        r#"
[[listeners]]
bind = "{listen}"
[admin]
bind = "{admin}"
[log]
level = "warn"
format = "text"

[upstreams.service]
servers = ["http://{service}"]

[limits.per-client]
key = "client-ip"
rate = "1/s"
burst = 5

# The service says who asks: anyone who names a user, in this demo.
[identities.users.forward]
url = "http://{service}/verify"
send = ["x-user"]
id = "header:x-auth-user"

[limits.per-user]
key = "identity"
rate = "2/s"

# Each answer says what it cost.
[limits.tokens]
key = "client-ip"
rate = "60/m"
burst = 100
cost = {{ from = "response-json:usage.total_tokens", reserve = 10 }}

# Requests wait for almost a second instead of being refused.
[limits.pace]
key = "client-ip"
rate = "4/s"
burst = 1
delay = "900ms"

# A client that goes on after three refusals is refused for ten seconds.
[limits.strict]
key = "client-ip"
rate = "1/s"
ban = {{ refusals = 3, within = "10s", for = "10s" }}

{ROUTES}"#
    )
}

/// The routes of the demo.
const ROUTES: &str = r#"[[routes]]
name = "all"
upstream = "service"

[[routes]]
name = "limited"
match = { path = "/limited" }
upstream = "service"
limits = ["per-client"]

[[routes]]
name = "mine"
match = { path = "/mine" }
upstream = "service"
identify = ["users"]
limits = ["per-user"]
request = { set_headers = { x-user = "{identity}" } }

[[routes]]
name = "priced"
match = { path = "/priced" }
upstream = "service"
limits = ["tokens"]

[[routes]]
name = "paced"
match = { path = "/paced" }
upstream = "service"
limits = ["pace"]

[[routes]]
name = "strict"
match = { path = "/strict" }
upstream = "service"
limits = ["strict"]

[[routes]]
name = "slow"
match = { path = "/slow" }
upstream = "service"
concurrency = { max = 2, queue = 2, queue_timeout = "5s" }

[[routes]]
name = "flaky"
match = { path = "/flaky" }
upstream = "service"
retry = { attempts = 3, on = ["connect", "503"] }
"#;

/// The URL at an address; empty for one that is not bound.
fn url(address: Option<SocketAddr>) -> String {
    match address {
        Some(address) => format!("http://{address}"),
        None => String::new(),
    }
}

/// The commands to try. The brackets in the URLs make curl send several
/// requests, which works in every shell.
///
/// An address that is not bound is shown as nothing.
fn banner(ready: &Ready, service: SocketAddr) -> String {
    let gateway = url(ready.listeners.first().copied());
    let admin = url(ready.admin);
    format!(
        r"A gateway to play with.

  gateway  {gateway}
  admin    {admin}
  service  http://{service}   behind the gateway; slow and flaky on purpose

Try in another terminal:

  1. A limit of one request a second, five at once: five pass, three are refused with 429.
     curl -s -o /dev/null -w '%{{http_code}}\n' '{gateway}/limited?[1-8]'

  2. A refusal as clients see it: which limit, and when to come back.
     curl -s -o /dev/null '{gateway}/limited?[1-6]'; curl -i '{gateway}/limited'

  3. A cap of two in flight, two more may wait: two are refused with 503 at once,
     two take a second, and two take two.
     curl -Z --parallel-immediate --no-progress-meter -o /dev/null -w '%{{http_code}} after %{{time_total}} s\n' '{gateway}/slow?[1-6]'

  4. Retries: every other answer of the service is a 503, and none of them comes through.
     curl -s '{gateway}/flaky?[1-4]'

  5. A limit for each user: Ann has two at once, and Bob has his own. Without a user it is 401.
     curl -s -H 'x-user: ann' -o /dev/null -w '%{{http_code}}\n' '{gateway}/mine?[1-4]'; curl -i -H 'x-user: bob' '{gateway}/mine'; curl -i '{gateway}/mine'

  6. A limit on what answers cost: each one says that it took 40 tokens, of 100 at once. Three pass, and
     owe 20: the others are refused until 60 tokens a minute have paid.
     curl -s -w '%{{http_code}}\n' '{gateway}/priced?[1-5]'

  7. A limit that lets requests wait: one passes, three follow it each quarter of a second, four are refused at once.
     curl -Z --parallel-immediate --no-progress-meter -o /dev/null -w '%{{http_code}} after %{{time_total}} s\n' '{gateway}/paced?[1-8]'

  8. A ban: the third refusal brings it, and ten seconds go by before anything passes again.
     curl -s -o /dev/null '{gateway}/strict?[1-4]'; curl -i '{gateway}/strict'

What it counted: curl -s {admin}/metrics
Its configuration, to go on from: tidegate demo --print-config > tidegate.toml, then tidegate check and tidegate run.
Or put it before a service of yours at once: tidegate proxy --to http://localhost:3000 --rate 100/s
Below comes a line for each request. Ctrl-C ends it.

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse};

    #[test]
    fn what_the_demo_runs_is_a_sound_configuration() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = parse(
            "demo",
            &text(any, any, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            &Environment::new(),
        );
        assert_eq!(config.unwrap().routes.len(), 8);
    }
}
