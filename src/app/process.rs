//! Settings that hold for the whole life of the process: its logs, its number
//! of workers, its limit on open files, and whether it may leave a core file.
//! Also the trial build of `tidegate check`.
//!
//! A reload changes none of these settings: the threads exist already, the
//! format of a log must not change in its middle, and the limit on files stays
//! raised. Only a private key that a reload brings has the memory protected
//! then.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use super::outcome::StartError;
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
/// File descriptors that are reserved for connections to upstreams, at most
/// half of all. Most clients are idle and need none.
const UPSTREAM_FILES: u64 = 2048;

/// Starts the log of the process on stderr.
///
/// # Errors
/// A log was started before.
pub(super) fn start_logs(log: &policy::Log) -> Result<LogGuard, StartError> {
    let format = log_format(log, io::stderr().is_terminal());
    logs::init(log.level, format, is_colored(&io::stderr()))
        .map_err(|error| StartError::Other(error.to_string()))
}

/// The configured format, or else text for a person at a terminal and JSON for
/// everything else.
fn log_format(log: &policy::Log, is_terminal: bool) -> LogFormat {
    let usual = if is_terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    log.format.unwrap_or(usual)
}

/// The form of access lines. Text is short on a terminal, where a line of all
/// fields takes several rows.
///
/// A terminal is one on stdout, where access lines go; the log on stderr is
/// judged apart, so that the two may differ.
fn access_form(log: &policy::Log, is_terminal: bool, color: bool) -> Form {
    match log_format(log, is_terminal) {
        LogFormat::Text if is_terminal => Form::Short { color },
        format => Form::Full(format),
    }
}

/// Starts the thread that writes access lines to stdout. It runs even with
/// `access = false`, since a reload can switch access lines on.
///
/// # Errors
/// The system gives the process no further thread.
pub(super) fn start_access_log(
    log: &policy::Log,
    workers: usize,
    metrics: &Metrics,
) -> Result<(AccessLog, AccessGuard), StartError> {
    let form = access_form(log, io::stdout().is_terminal(), is_colored(&io::stdout()));
    AccessLog::start(form, io::stdout(), workers, metrics.dropped()).map_err(|error| {
        StartError::Other(format!("cannot start the access log's thread ({error})"))
    })
}

/// The configured number of worker threads, or else one for each core that this
/// process may use.
///
/// The cores are those of the affinity mask and of the cgroup's quota of
/// processor time, as far as the standard library knows them; 1 if it cannot
/// tell.
pub(super) fn worker_count(server: &policy::Server) -> usize {
    match server.workers {
        Some(workers) => workers.into(),
        None => std::thread::available_parallelism().map_or(1, Into::into),
    }
}

/// Raises the soft limit on open files to the hard one, and divides it: clients
/// get all descriptors but those of the process itself and of connections to
/// upstreams. Without a limit, a million is divided.
///
/// With 1,024 files, for example, clients get 448: 64 are the process's own,
/// and 512, half of all, are for upstreams.
pub(super) fn files() -> Files {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // The soft limit is low for programs that use select(), which fails above
    // 1024.
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
    Files {
        clients: all_but(OWN_FILES + upstream, files),
        all: all_but(OWN_FILES, files),
    }
}

/// The number of files without `reserved`, at least one.
///
/// A process with fewer files than it reserves still accepts one connection at
/// a time, rather than none.
fn all_but(reserved: u64, files: u64) -> usize {
    let left = usize::try_from(files.saturating_sub(reserved)).unwrap_or(usize::MAX);
    left.max(1)
}

/// Builds all parts of `config` and drops them again. This finds everything
/// that a start would find wrong, except for sockets and names.
///
/// Builds for a single worker and binds nothing. The thread of the access log
/// that the parts need is told to end, and not waited for. The state directory
/// is only looked at, as a check must not create it. Returns the configuration
/// for further use.
///
/// # Errors
/// The text is a sentence for people that says what cannot be built.
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
        challenges: Arc::default(),
    };
    if let Some(path) = &config.server.state_dir
        && path.exists()
        && !path.is_dir()
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

/// Keeps core files from being written and other processes of the same user
/// from reading this memory, once `config` holds a private key
/// (`PR_SET_DUMPABLE` of prctl(2)). This stays when the last key goes, because
/// copies of it may be left.
///
/// Called after each load that may bring a key; a refusal of the system is
/// logged and is no error.
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
