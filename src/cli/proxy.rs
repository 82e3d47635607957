//! `tidegate proxy`: a gateway in front of one service, described by arguments
//! alone.
//!
//! The arguments become a configuration with one upstream, one route and at
//! most one limit.
//!
//! The arguments are not interpreted here: each becomes a line of TOML, and the
//! parser of configurations judges it. A mistake is then reported as clap
//! reports a wrong argument, with the name and the value that the user typed
//! (`arguments::Text`). So `--rate` accepts every form that the key `rate`
//! does.
//!
//! There is no file to reload from. The gateway runs until a signal ends it,
//! like any other one.

use std::process::ExitCode;

use clap::{Args, Command, builder::RangedU64ValueParser, error::ErrorKind};

use super::{
    arguments::{Text, admin, in_arguments, quoted},
    output::{complain, end},
};
use crate::{
    app::{self, Ready},
    reload::ConfigSource,
};

/// Put a gateway in front of a service, without a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where requests go; several share them
    #[arg(long, value_name = "URL", required = true)]
    to: Vec<String>,
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Requests of each client, by its address: N/s, N/m, N/h, N/d or N/10s
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// How much of it at once [default: N of the rate]
    #[arg(long, value_name = "N", requires = "rate", value_parser = at_least_one())]
    burst: Option<u64>,
    /// Requests in flight, over all clients; more are refused with 503
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    max_in_flight: Option<u64>,
    /// Metrics and health, or "off" [default: 127.0.0.1:9901, or a free port]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  tidegate proxy --to http://localhost:3000 --rate 100/s
  tidegate proxy --to http://localhost:3000 --rate 30/m --burst 5 --max-in-flight 64
  tidegate proxy --to http://10.0.0.1:9001 --to http://10.0.0.2:9001 --listen 0.0.0.0:8080";

/// Numbers from 1 to the largest number of tokens.
///
/// The bound is that of a burst in the configuration. clap rejects other
/// numbers before the configuration is made.
fn at_least_one() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=u32::MAX.into())
}

/// Runs the gateway. `command` is the whole command line, for reports of wrong
/// arguments.
///
/// Blocks until the gateway has ended. A wrong argument ends the process with
/// status 2 before anything is bound.
pub(super) fn run(arguments: &Arguments, command: Command) -> ExitCode {
    let text = text(arguments);
    let source = ConfigSource::Text {
        name: "command line",
        text: text.toml().to_owned(),
    };
    if let Err(mistakes) = source.load() {
        refuse(command, &text.explain(&mistakes));
    }
    let shown = arguments.to.join(", ");
    let result = app::run(
        source,
        Box::new(move |ready| complain(banner(&shown, ready))),
    );
    end(result.map_err(in_arguments))
}

/// Reports a wrong argument as clap does, with exit status 2.
///
/// The usage that clap shows is that of `proxy`.
fn refuse(mut all: Command, why: &str) -> ! {
    all.build();
    match all.find_subcommand_mut("proxy") {
        Some(proxy) => proxy.error(ErrorKind::ValueValidation, why).exit(),
        None => all.error(ErrorKind::ValueValidation, why).exit(),
    }
}

/// The configuration that the arguments describe.
///
/// The admin listener takes its usual port or a free one, unless `--admin`
/// names another or says "off". The limit exists only with `--rate`, and counts
/// by the address of the client.
fn text(arguments: &Arguments) -> Text {
    let mut text = Text::default();
    text.lines("[[listeners]]");
    text.argument(
        "--listen <ADDR>",
        &arguments.listen,
        &format!("bind = {}", quoted(&arguments.listen)),
    );
    let admin = arguments
        .admin
        .clone()
        .unwrap_or_else(|| admin(arguments.listen.parse().ok()).to_string());
    text.lines("[admin]");
    text.argument(
        "--admin <ADDR>",
        &admin,
        &format!("bind = {}", quoted(&admin)),
    );
    text.lines("[upstreams.to]\nservers = [");
    for url in &arguments.to {
        text.argument("--to <URL>", url, &format!("{},", quoted(url)));
    }
    text.lines("]");
    if let Some(rate) = &arguments.rate {
        text.lines("[limits.per-client]\nkey = \"client-ip\"");
        text.argument("--rate <RATE>", rate, &format!("rate = {}", quoted(rate)));
        if let Some(burst) = arguments.burst {
            text.argument(
                "--burst <N>",
                &burst.to_string(),
                &format!("burst = {burst}"),
            );
        }
    }
    text.lines("[[routes]]\nname = \"proxy\"\nupstream = \"to\"");
    if arguments.rate.is_some() {
        text.lines("limits = [\"per-client\"]");
    }
    if let Some(max) = arguments.max_in_flight {
        text.argument(
            "--max-in-flight <N>",
            &max.to_string(),
            &format!("concurrency.max = {max}"),
        );
    }
    text
}

/// The line that says where the gateway listens.
///
/// Written to stderr when the gateway serves, with the ports that the system
/// chose, and with a line for the admin listener if it is on.
fn banner(to: &str, ready: &Ready) -> String {
    let mut listeners = Vec::new();
    for address in &ready.listeners {
        listeners.push(format!("http://{address}"));
    }
    let admin = match ready.admin {
        Some(address) => format!("\nadmin: http://{address}"),
        None => String::new(),
    };
    format!("forwarding {} to {to}{admin}", listeners.join(", "))
}
