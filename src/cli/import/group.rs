//! The inside of an `upstream` block: servers, the choice among them, and
//! their connections.

use super::{
    notes::{Note, Outcome},
    toml::{Block, text},
    tree::Directive,
    units,
    variables::Key,
};

/// The port of a server that names none; NGINX takes it for https, too.
const USUAL_PORT: &str = "80";
/// The failures that NGINX allows a server that says nothing about them.
const MAX_FAILS: u64 = 1;
/// The same for its time, in milliseconds.
const FAIL_TIMEOUT: u64 = 10_000;

/// One server.
#[derive(Debug, Default)]
struct Server {
    url: String,
    weight: Option<u64>,
    is_down: bool,
    is_backup: bool,
    max_fails: Option<u64>,
    fail_timeout: Option<u64>,
    max_conns: Option<u64>,
}

/// The URL of a server. `address` may lack a port.
pub(super) fn url(address: &str, is_secure: bool, usual_port: Option<&str>) -> String {
    if address.starts_with("unix:") {
        // NGINX ends the path of `proxy_pass` with a colon.
        return address.trim_end_matches(':').to_owned();
    }
    let scheme = if is_secure { "https" } else { "http" };
    let behind = address.rsplit(']').next().unwrap_or(address);
    match usual_port.filter(|_| !behind.contains(':')) {
        Some(port) => format!("{scheme}://{address}:{port}"),
        None => format!("{scheme}://{address}"),
    }
}

/// Writes the keys of an upstream that its block says. `failures` is the value
/// of `ejection.on`.
pub(super) fn write(defined: &Directive, is_secure: bool, failures: &[String], block: &mut Block) {
    defined.read();
    defined.inside().iter().for_each(Directive::read);
    let notes = &mut block.notes;
    let inside = defined.inside().iter();
    let is_server = |directive: &&Directive| directive.name == "server";
    let mut servers: Vec<Server> = Vec::new();
    for directive in inside.clone().filter(is_server) {
        let server = server(directive, is_secure, notes);
        match servers.iter().any(|other| other.url == server.url) {
            true => notes.push(Note::new(
                directive,
                Outcome::Lost,
                "the server is in the list already; give it a `weight`",
            )),
            false => servers.push(server),
        }
    }
    let mut pool = Vec::new();
    let mut balance = vec![format!("balance = {}", text("round-robin"))];
    for directive in inside.filter(|directive| !is_server(directive)) {
        method(directive, &mut balance, &mut pool, notes);
    }
    ejection(defined, &servers, failures, block);
    connections(defined, &servers, &mut pool, &mut block.notes);
    let (ejection, keys) = (std::mem::take(&mut block.lines), &mut block.lines);
    if let [server] = servers.as_slice() {
        keys.push(format!("servers = [{}]", server_text(server)));
    } else {
        keys.push("servers = [".to_owned());
        let listed = servers
            .iter()
            .map(|server| format!("  {},", server_text(server)));
        keys.extend(listed);
        keys.push("]".to_owned());
        keys.append(&mut balance);
    }
    keys.extend(ejection);
    if !pool.is_empty() {
        keys.push(format!("pool = {{ {} }}", pool.join(", ")));
    }
}

fn server_text(server: &Server) -> String {
    let mut keys = vec![format!("url = {}", text(&server.url))];
    keys.extend(server.weight.map(|weight| format!("weight = {weight}")));
    keys.extend(server.is_backup.then(|| "backup = true".to_owned()));
    match keys.len() {
        1 => text(&server.url),
        _ => format!("{{ {} }}", keys.join(", ")),
    }
}

/// Reads `server ADDRESS weight=2 max_fails=3 backup`.
fn server(directive: &Directive, is_secure: bool, notes: &mut Vec<Note>) -> Server {
    let mut server = Server {
        url: url(directive.argument(0), is_secure, Some(USUAL_PORT)),
        ..Server::default()
    };
    for argument in directive.arguments.iter().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let number = value.parse::<u64>().ok();
        match (name, number) {
            ("weight", Some(weight)) => server.weight = Some(weight).filter(|weight| *weight != 1),
            ("max_fails", Some(number)) => server.max_fails = Some(number),
            ("max_conns", Some(number)) => server.max_conns = Some(number).filter(|max| *max > 0),
            ("fail_timeout", _) => {
                server.fail_timeout = units::milliseconds(value);
                if server.fail_timeout.is_none() {
                    let why = format!("`{argument}` is not a time");
                    notes.push(Note::new(directive, Outcome::Lost, why));
                }
            }
            ("down", _) => {
                server.weight = Some(0);
                server.is_down = true;
            }
            ("backup", _) => server.is_backup = true,
            // Names are resolved again and again here.
            ("resolve", _) => {}
            ("slow_start", _) => {
                let why = "use `slow_start` of the upstream, which is for all of its servers";
                notes.push(Note::new(directive, Outcome::Lost, why));
            }
            _ => {
                let why = format!("tidegate has nothing like `{argument}`");
                notes.push(Note::new(directive, Outcome::Lost, why));
            }
        }
    }
    server
}

/// Reads a directive about the choice of a server, or about connections.
fn method(
    directive: &Directive,
    balance: &mut Vec<String>,
    pool: &mut Vec<String>,
    notes: &mut Vec<Note>,
) {
    let mut note = |outcome, why: &str| notes.push(Note::new(directive, outcome, why));
    let chosen = |name: &str| vec![format!("balance = {}", text(name))];
    let time = units::milliseconds(directive.argument(0)).filter(|time| *time > 0);
    match directive.name.as_str() {
        "least_conn" | "random" => {
            *balance = chosen("least-requests");
            note(
                Outcome::Differs,
                "the less busy of two random servers is chosen",
            );
        }
        "least_time" => *balance = chosen("peak-ewma"),
        "ip_hash" => {
            *balance = chosen("hash");
            balance.push(format!("hash_key = {}", text("client-ip/24/128")));
        }
        "hash" => match Key::read(directive.argument(0)) {
            Ok(key) if !key.parts.is_empty() => {
                *balance = chosen("hash");
                balance.push(format!("hash_key = {}", key.parts_toml()));
            }
            _ => note(
                Outcome::Lost,
                "tidegate cannot hash by this key; servers take turns",
            ),
        },
        "keepalive" => match directive.argument(0).parse::<u32>() {
            Ok(number) => {
                pool.push(format!("max_idle = {number}"));
                note(
                    Outcome::Differs,
                    "the number is for each server over all workers here, for each worker over all servers in NGINX",
                );
            }
            Err(_) => note(Outcome::Lost, "it is not a number"),
        },
        "keepalive_timeout" => match time {
            Some(time) => pool.push(format!("idle_timeout = {}", text(&units::duration(time)))),
            None => note(Outcome::Lost, "it is not a time"),
        },
        "keepalive_time" => match time {
            Some(time) => pool.push(format!("max_lifetime = {}", text(&units::duration(time)))),
            None => note(Outcome::Lost, "it is not a time"),
        },
        _ => notes.push(super::reasons::note(directive)),
    }
}

/// Writes `ejection` if a server says something about failures.
///
/// It is for all servers of the upstream, so that those count that get requests
/// as long as nothing fails. Of those, a server that says nothing follows the
/// others: one failure, the number of NGINX, would be too few in a row.
fn ejection(defined: &Directive, servers: &[Server], failures: &[String], block: &mut Block) {
    let mut counted: Vec<&Server> = servers
        .iter()
        .filter(|server| !server.is_down && !server.is_backup)
        .collect();
    let is_given = |server: &&Server| server.max_fails.is_some() || server.fail_timeout.is_some();
    if !counted.iter().any(&is_given) {
        counted = servers.iter().filter(|server| !server.is_down).collect();
    }
    if !counted.iter().any(is_given) {
        return;
    }
    // NGINX goes on with a server at once if either of its numbers is 0.
    let is_off = |server: &&&Server| server.max_fails == Some(0) || server.fail_timeout == Some(0);
    let fails = || counted.iter().filter_map(|server| server.max_fails);
    let times = || counted.iter().filter_map(|server| server.fail_timeout);
    let mut told = vec!["failures in a row count here, in NGINX those within `fail_timeout`"];
    let is_one = |values: Vec<Option<u64>>| values.windows(2).all(|two| two[0] == two[1]);
    let all_fails = counted.iter().map(|server| server.max_fails).collect();
    let all_times = counted.iter().map(|server| server.fail_timeout).collect();
    if !is_one(all_fails) || !is_one(all_times) {
        told.push(
            "its servers differ, and here all have the lowest `max_fails` and the longest `fail_timeout` that are written and are not 0",
        );
    }
    let keys = match counted.iter().all(|server| is_off(&server)) {
        true => {
            told = vec![
                "no server is ever left out here, as in NGINX with 0, nor after `Retry-After`",
            ];
            "max_percent = 0".to_owned()
        }
        false => {
            let least = fails().filter(|fails| *fails > 0).min();
            let longest = times().filter(|time| *time > 0).max();
            let base = units::duration(longest.unwrap_or(FAIL_TIMEOUT));
            let on = super::toml::list(failures);
            let least = least.unwrap_or(MAX_FAILS);
            format!("consecutive_failures = {least}, base = \"{base}\", on = {on}")
        }
    };
    let why = told.join("; ");
    block.notes.push(Note::new(defined, Outcome::Differs, why));
    block.set("ejection", &format!("{{ {keys} }}"));
}

/// Adds the largest number of connections that a server has.
fn connections(
    defined: &Directive,
    servers: &[Server],
    pool: &mut Vec<String>,
    notes: &mut Vec<Note>,
) {
    let given: Vec<u64> = servers
        .iter()
        .filter_map(|server| server.max_conns)
        .collect();
    let Some(most) = given.iter().max() else {
        return;
    };
    pool.push(format!("max_connections = {most}"));
    let why = "requests beyond `max_conns` wait for `pool.wait_timeout` here, and all servers have the same number";
    notes.push(Note::new(defined, Outcome::Differs, why));
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    /// The line `ejection` for these servers.
    fn ejection(servers: &str) -> Option<String> {
        let text = format!(
            "http {{ upstream u {{ {servers} }} server {{ location / {{ proxy_pass http://u; }} }} }}"
        );
        let made = imported(text.as_bytes()).unwrap();
        let line = made.lines().find(|line| line.starts_with("ejection = "))?;
        Some(line.split(", on").next().unwrap().to_owned())
    }

    #[test]
    fn the_numbers_of_servers_that_get_requests_count() {
        let counted = "{ consecutive_failures = 2, base = \"15s\"";
        for servers in [
            "server a max_fails=2 fail_timeout=15s; server b max_fails=2 fail_timeout=15s; server c backup; server d down;",
            "server a max_fails=2 fail_timeout=15s; server b;",
            "server a max_fails=0; server b max_fails=2 fail_timeout=15s;",
            "server a max_fails=3 fail_timeout=0; server b max_fails=2 fail_timeout=15s;",
            "server a; server b backup max_fails=2 fail_timeout=15s;",
        ] {
            let found = ejection(servers);
            assert_eq!(found, Some(format!("ejection = {counted}")), "{servers}");
        }
    }

    #[test]
    fn servers_that_nginx_never_leaves_out_are_not_ejected() {
        let never = Some("ejection = { max_percent = 0 }".to_owned());
        assert_eq!(
            ejection("server a max_fails=0; server b max_fails=0;"),
            never
        );
        assert_eq!(
            ejection("server a fail_timeout=0; server b max_fails=0 down;"),
            never
        );
        assert_eq!(ejection("server a; server b max_fails=0 down;"), None);
    }
}
