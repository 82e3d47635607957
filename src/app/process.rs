//! What the process sets up once: its logs, what it gives to every generation of routes, its bounds.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use super::StartError;
use crate::{
    build::{Process, build},
    config::Config,
    limit::KeyHasher,
    policy::{self, LogFormat},
    reload::Files,
    telemetry::{AccessGuard, AccessLog, Form, LogGuard, Metrics, is_colored, logs},
};

/// File descriptors that are not connections: sockets, logs, runtimes.
const OWN_FILES: u64 = 64;
/// File descriptors kept for connections to upstreams, at most half of all: idle clients, which are most, need none.
const UPSTREAM_FILES: u64 = 2048;

/// Starts the log of the process.
pub(super) fn start_logs(log: &policy::Log) -> Result<LogGuard, StartError> {
    let format = log_format(log, io::stderr().is_terminal());
    logs::init(log.level, format, is_colored(&io::stderr()))
        .map_err(|error| StartError::Other(error.to_string()))
}

/// The configured format, or else text for a person at a terminal and JSON for everything else.
fn log_format(log: &policy::Log, is_terminal: bool) -> LogFormat {
    let usual = if is_terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    log.format.unwrap_or(usual)
}

/// The form of access lines. Text is short on a terminal, where a line of all fields takes several rows.
fn access_form(log: &policy::Log, is_terminal: bool, color: bool) -> Form {
    match log_format(log, is_terminal) {
        LogFormat::Text if is_terminal => Form::Short { color },
        format => Form::Full(format),
    }
}

/// What the process gives to every generation.
pub(super) fn process(
    config: &Config,
    hasher: KeyHasher,
) -> Result<(Process, AccessGuard), StartError> {
    let workers = config.server.workers.map_or_else(cores, Into::into);
    let metrics = Metrics::new(workers);
    let form = access_form(
        &config.log,
        io::stdout().is_terminal(),
        is_colored(&io::stdout()),
    );
    let (access, guard) = AccessLog::start(form, io::stdout(), workers, metrics.dropped())
        .map_err(|error| format!("cannot start the access log's thread ({error})"))?;
    Ok((
        Process {
            workers,
            metrics,
            access,
            hasher,
            buffers: Arc::default(),
        },
        guard,
    ))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Connections that the file limit allows: of clients all but some for the process itself and for connections to upstreams.
pub(super) fn files() -> Files {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // The soft limit is low for the sake of programs that use select(); this one does not.
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    let files = files.unwrap_or(1 << 20);
    let upstream = UPSTREAM_FILES.min(files / 2);
    let but = |some: u64| {
        usize::try_from(files.saturating_sub(some))
            .unwrap_or(usize::MAX)
            .max(1)
    };
    Files {
        clients: but(OWN_FILES + upstream),
        all: but(OWN_FILES),
    }
}

/// Builds what `config` says and lets it go again: what a start would find wrong, short of sockets and names.
///
/// # Errors
/// Says what cannot be built.
pub fn try_build(config: Config) -> Result<Config, String> {
    let metrics = Metrics::new(1);
    let (access, _guard) = AccessLog::start(
        Form::Full(LogFormat::Text),
        io::sink(),
        1,
        metrics.dropped(),
    )
    .map_err(|error| format!("cannot start a thread ({error})"))?;
    let process = Process {
        workers: 1,
        metrics,
        access,
        hasher: KeyHasher::new(),
        buffers: Arc::default(),
    };
    if let Some(path) = config
        .server
        .state_dir
        .as_ref()
        .filter(|path| path.exists() && !path.is_dir())
    {
        return Err(format!(
            "{} is not a folder (key server.state_dir)",
            path.display()
        ));
    }
    let config = Arc::new(config);
    build(Arc::clone(&config), None, &process).map_err(|error| error.to_string())?;
    Ok(Arc::unwrap_or_clone(config))
}

/// Once there is a private key in memory: no core files, and no look into it by other processes of the same user. It
/// stays so when the last key goes, as nobody knows where copies of it lie.
pub(super) fn keep_memory_private(config: &Config) {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let has_key = config
        .listeners
        .iter()
        .any(|listener| listener.tls.is_some())
        || config
            .upstreams
            .iter()
            .any(|upstream| upstream.tls.identity.is_some());
    if has_key && let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core files of this process would hold private keys");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse("test.toml", text, &std::collections::BTreeMap::new()).unwrap()
    }

    #[test]
    fn text_is_short_on_a_terminal_and_full_elsewhere() {
        let form = |format: &str, is_terminal| {
            let text = format!("[log]\n{format}\n[[routes]]\nname = \"a\"\nrespond = {{}}\n");
            access_form(&config(&text).log, is_terminal, true)
        };
        let short = Form::Short { color: true };
        assert_eq!(
            (form("", true), form("", false)),
            (short, Form::Full(LogFormat::Json))
        );
        assert_eq!(
            (
                form("format = 'text'", true),
                form("format = 'text'", false)
            ),
            (short, Form::Full(LogFormat::Text))
        );
        assert_eq!(
            (
                form("format = 'json'", true),
                form("format = 'json'", false)
            ),
            (Form::Full(LogFormat::Json), Form::Full(LogFormat::Json))
        );
    }

    #[test]
    fn a_process_that_holds_a_key_leaves_no_core_file() {
        let route = "[[routes]]\nname = \"a\"\nrespond = {}\n";
        keep_memory_private(&config(route));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        let folder = tempfile::tempdir().unwrap();
        let [cert, private] = ["a.pem", "a.key"].map(|name| folder.path().join(name));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["a".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        let files = format!(
            "[{{ cert = '{}', key = '{}' }}]",
            cert.display(),
            private.display()
        );
        let listener = format!(
            "[[listeners]]\nbind = \"127.0.0.1:0\"\ntls = {{ certificates = {files} }}\n{route}"
        );
        keep_memory_private(&config(&listener));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
