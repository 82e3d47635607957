//! `tidegate proxy`: a gateway in front of one service, described by arguments alone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use clap::{Args, CommandFactory, error::ErrorKind};

use super::{
    Cli,
    arguments::{Text, free, quoted},
    complain, end,
};
use crate::{
    app::{self, Ready, StartError},
    reload::Source,
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
    /// What each client may ask for, by its address: N/s, N/m, N/h, N/d or N/10s
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// How much of it at once [default: N of the rate]
    #[arg(long, value_name = "N", requires = "rate")]
    burst: Option<u64>,
    /// Requests in flight, over all clients; more are refused with 503
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  tidegate proxy --to http://localhost:3000 --rate 100/s
  tidegate proxy --to http://10.0.0.1:9001 --to http://10.0.0.2:9001 --listen 0.0.0.0:8080
  tidegate proxy --to http://localhost:3000 --rate 30/m --burst 5 --max-in-flight 64";

/// Where the admin listener is by default.
const ADMIN_PORT: u16 = 9901;

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let text = text(arguments);
    let source = Source::Text { name: "command line", text: text.toml().to_owned() };
    if let Err(mistakes) = source.load() {
        refuse(&text.explain(&mistakes));
    }
    let shown = arguments.to.join(", ");
    let result = app::run(source, Box::new(move |ready| complain(banner(&shown, ready))));
    end(result.map_err(|error| match error {
        StartError::Other(why) => StartError::Other(why.replace("key listeners[0].bind", "--listen")),
        mistakes => mistakes,
    }))
}

/// A wrong argument is told as clap tells it, with exit code 2.
fn refuse(why: &str) -> ! {
    let mut all = Cli::command();
    all.build();
    match all.find_subcommand_mut("proxy") {
        Some(proxy) => proxy.error(ErrorKind::ValueValidation, why).exit(),
        None => all.error(ErrorKind::ValueValidation, why).exit(),
    }
}

fn text(arguments: &Arguments) -> Text {
    let mut text = Text::default();
    text.lines("[[listeners]]");
    text.argument("--listen <ADDR>", &arguments.listen, &format!("bind = {}", quoted(&arguments.listen)));
    text.lines(&format!("[admin]\nbind = \"{}\"", admin(&arguments.listen)));
    text.lines("[upstreams.to]\nservers = [");
    for url in &arguments.to {
        text.argument("--to <URL>", url, &format!("{},", quoted(url)));
    }
    text.lines("]");
    if let Some(rate) = &arguments.rate {
        text.lines("[limits.per-client]\nkey = \"client-ip\"");
        text.argument("--rate <RATE>", rate, &format!("rate = {}", quoted(rate)));
        if let Some(burst) = arguments.burst {
            text.argument("--burst <N>", &burst.to_string(), &format!("burst = {burst}"));
        }
    }
    text.lines("[[routes]]\nname = \"proxy\"\nupstream = \"to\"");
    if arguments.rate.is_some() {
        text.lines("limits = [\"per-client\"]");
    }
    if let Some(max) = arguments.max_in_flight {
        text.argument("--max-in-flight <N>", &max.to_string(), &format!("concurrency.max = {max}"));
    }
    text
}

/// Its usual port, so that what is written about it holds; but a second proxy on this machine must start too.
fn admin(listen: &str) -> SocketAddr {
    let is_listener = listen.parse().is_ok_and(|listen: SocketAddr| listen.port() == ADMIN_PORT);
    let ip = Ipv4Addr::LOCALHOST.into();
    if is_listener { SocketAddr::new(ip, 0) } else { free(ip, ADMIN_PORT) }
}

fn banner(to: &str, ready: &Ready) -> String {
    let listeners: Vec<_> = ready.listeners.iter().map(|address| format!("http://{address}")).collect();
    let admin = ready.admin.map(|address| format!("\nadmin: http://{address}")).unwrap_or_default();
    format!("forwarding {} to {to}{admin}", listeners.join(", "))
}
