//! The package for Debian, in a fresh root of Debian: it installs, serves, is
//! upgraded while it serves, and leaves nothing behind.
//!
//! The root is made by mmdebstrap once and kept in `target/tmp`; each test has
//! a copy, with a network and processes of its own. No systemd runs there, as
//! in a container: a test starts the gateway as the unit would.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{LazyLock, mpsc},
    time::Duration,
};

use tempfile::TempDir;

use super::{path, read};

/// The longest wait for a request; a debug build starts within a few seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONFIGURATION: &str = "etc/tidegate/tidegate.toml";
/// A line that only the second version of the shipped configuration has.
const SHIPPED: &str = "# of the second version\n";

#[test]
fn what_an_installation_brings_a_purge_takes_away() {
    let debian = Debian::start();
    debian.install(&PACKAGES.first);
    for file in [
        "usr/bin/tidegate",
        "usr/lib/systemd/system/tidegate.service",
        "usr/lib/systemd/system/tidegate.socket",
        "usr/share/man/man1/tidegate-run.1.gz",
        "usr/share/bash-completion/completions/tidegate",
        "usr/share/zsh/vendor-completions/_tidegate",
        "usr/share/fish/vendor_completions.d/tidegate.fish",
        "usr/share/doc/tidegate/copyright",
        "usr/share/doc/tidegate/changelog.Debian.gz",
        CONFIGURATION,
        "etc/systemd/system/multi-user.target.wants/tidegate.service",
    ] {
        assert!(debian.has(file), "{file} is missing");
    }
    // Two owners of one address: the administrator chooses the socket.
    assert!(!debian.has("etc/systemd/system/sockets.target.wants/tidegate.socket"));
    assert_eq!(
        debian.run("stat -c '%U %G %a' /var/lib/tidegate"),
        "tidegate tidegate 700\n"
    );
    debian.serve();
    assert!(debian.get().contains("tidegate runs"));
    let owner = debian.run(&format!("stat -c %U /proc/{}", debian.gateway()));
    assert_eq!(owner, "tidegate\n");
    debian.run("touch /var/lib/tidegate/state");
    debian.stop();
    debian.run("dpkg --remove tidegate");
    assert!(debian.has(CONFIGURATION) && debian.has("var/lib/tidegate/state"));
    assert!(!debian.has("usr/bin/tidegate"));
    debian.run("dpkg --purge tidegate");
    let left = debian.run(
        "find / -xdev -name '*tidegate*' -not -path '/proc/*' -not -path '/tmp/*'; getent passwd tidegate || true",
    );
    assert_eq!(left, "");
}

#[test]
fn an_upgrade_refuses_no_request_and_keeps_a_changed_configuration() {
    let debian = Debian::start();
    debian.install(&PACKAGES.first);
    debian.configure(|text| text.replace("tidegate runs", "changed"));
    debian.serve();
    let load = debian.load();
    load.pass(50);
    let before = debian.gateway();
    debian.install(&PACKAGES.second);
    assert_ne!(debian.gateway(), before);
    load.pass(50);
    assert!(debian.get().contains("changed"));
    let offered = format!("{CONFIGURATION}.dpkg-dist");
    assert!(debian.read(&offered).ends_with(SHIPPED));
}

#[test]
fn an_upgrade_onto_a_configuration_with_mistakes_leaves_the_old_process_and_says_so() {
    let debian = Debian::start();
    debian.install(&PACKAGES.first);
    debian.serve();
    let before = debian.gateway();
    debian.configure(|text| text.replace("[[routes]]", "nonsense = 1\n[[routes]]"));
    let said = debian.install(&PACKAGES.second);
    assert!(said.contains("there is no key `nonsense`"), "{said}");
    assert!(
        said.contains(&format!("process {before} goes on")),
        "{said}"
    );
    assert_eq!(debian.gateway(), before);
    assert!(debian.get().contains("tidegate runs"));
    assert_eq!(
        debian.run("dpkg-query -W -f '${Version} ${Status}' tidegate"),
        format!("{} install ok installed", version(2))
    );
}

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for unit in ["tidegate.service", "tidegate.socket"] {
        // It also checks that the programs exist, and here they need not.
        let text = read(&format!("deploy/systemd/{unit}"));
        let program = env!("CARGO_BIN_EXE_tidegate");
        fs::write(
            folder.path().join(unit),
            text.replace("/usr/bin/tidegate", program),
        )
        .unwrap();
    }
    let said = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args([
            folder.path().join("tidegate.service"),
            folder.path().join("tidegate.socket"),
        ])
        .output()
        .expect("systemd-analyze; `apt-get install systemd` or tests/all installs it");
    let said = printed(&said);
    assert!(!said.contains("tidegate"), "{said}");
}

/// The version of the package in its revision.
fn version(revision: u8) -> String {
    format!("{}-{revision}", env!("CARGO_PKG_VERSION"))
}

/// Two versions of the package. They have the same program, and differ in the
/// configuration that they ship.
struct Packages {
    first: PathBuf,
    second: PathBuf,
    /// A root of Debian with the packages that ours needs.
    root: PathBuf,
}

static PACKAGES: LazyLock<Packages> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    fs::create_dir_all(folder.join("release")).unwrap();
    let (first, second) = (folder.join("first.deb"), folder.join("second.deb"));
    // cargo deb looks for the binary of this profile, and packs what it finds.
    done(
        Command::new("strip")
            .args([env!("CARGO_BIN_EXE_tidegate"), "-o"])
            .arg(folder.join("release/tidegate")),
    );
    done(
        Command::new("cargo-deb")
            .args(["deb", "--no-build", "--no-strip", "--fast"])
            .arg("--output")
            .arg(&first)
            .env("CARGO_TARGET_DIR", &folder)
            .current_dir(path("")),
    );
    let unpacked = folder.join("second");
    let _ = fs::remove_dir_all(&unpacked);
    done(
        Command::new("dpkg-deb")
            .arg("--raw-extract")
            .args([&first, &unpacked]),
    );
    change(&unpacked.join("DEBIAN/control"), |text| {
        text.replace(&version(1), &version(2))
    });
    change(&unpacked.join(CONFIGURATION), |text| text + SHIPPED);
    done(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
            .args([&unpacked, &second]),
    );
    let root = folder.join("root");
    if !root.join("etc/debian_version").exists() {
        bootstrap(&root);
    }
    Packages {
        first,
        second,
        root,
    }
});

/// Makes a root of Debian 12. It is complete once it has its name.
fn bootstrap(root: &Path) {
    let half = root.with_extension("half");
    let _ = fs::remove_dir_all(&half);
    done(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=essential", "--include=adduser"])
            .args(["--dpkgopt=force-unsafe-io"])
            .arg("bookworm")
            .arg(&half),
    );
    fs::rename(half, root).unwrap();
}

/// A machine of its own: a root folder, a network and processes. Everything
/// ends with it.
struct Debian {
    root: TempDir,
    /// Its first process, which ends all others when it is killed.
    first: Child,
}

impl Debian {
    fn start() -> Self {
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        done(
            Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(PACKAGES.root.join("."))
                .arg(root.path()),
        );
        for package in [&PACKAGES.first, &PACKAGES.second] {
            let name = package.file_name().unwrap();
            fs::copy(package, root.path().join("tmp").join(name)).unwrap();
        }
        let mut first = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
            .arg(format!("--mount-proc={}/proc", root.path().display()))
            // The loop also waits for processes whose parent has ended.
            .args([
                "sh",
                "-c",
                "ip link set lo up && echo up && while sleep 1; do :; done",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut up = String::new();
        let _ = BufReader::new(first.stdout.take().unwrap()).read_line(&mut up);
        assert_eq!(up, "up\n", "namespaces need root");
        Self { root, first }
    }

    /// A command within the machine, with the test's own programs.
    fn inside(&self, program: &str) -> Command {
        let of = |name| format!("/proc/{}/ns/{name}", self.first.id());
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", of("net")))
            .arg(format!("--mount={}", of("mnt")))
            .arg(format!("--pid={}", of("pid_for_children")))
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Runs a script in the root, as its superuser. Returns its stdout.
    #[track_caller]
    fn run(&self, script: &str) -> String {
        let output = done(&mut self.chroot(script));
        String::from_utf8(output.stdout).unwrap()
    }

    fn chroot(&self, script: &str) -> Command {
        let mut command = self.inside("chroot");
        command
            .arg(self.root.path())
            .args(["sh", "-euc", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Installs a package as an unattended upgrade does: a configuration that
    /// the administrator has changed stays. Returns what is printed.
    #[track_caller]
    fn install(&self, package: &Path) -> String {
        let name = package.file_name().unwrap().to_str().unwrap();
        let script = format!("dpkg --force-confdef --force-confold --install /tmp/{name}");
        printed(&done(&mut self.chroot(&script)))
    }

    /// Starts the gateway as the unit does, and waits until it serves.
    #[track_caller]
    fn serve(&self) {
        let script = "cd /var/lib/tidegate; \
            setsid setpriv --reuid tidegate --regid tidegate --init-groups --no-new-privs \
            /usr/bin/tidegate run --config /etc/tidegate/tidegate.toml >/tmp/log 2>&1 &";
        self.run(script);
        self.get();
    }

    /// Ends the gateway, as systemd does before the package is removed.
    fn stop(&self) {
        let gateway = self.gateway();
        self.run(&format!(
            "kill {gateway}; while kill -0 {gateway} 2>/dev/null; do sleep 0.1; done"
        ));
    }

    /// The process that serves: the one that was started last.
    fn gateway(&self) -> String {
        let running = "for p in $(grep -lszx '[r]un' /proc/[0-9]*/cmdline | cut -d / -f 3); do \
            cut -d ' ' -f 1,22 /proc/$p/stat; done | sort -n -k 2 | tail -n 1 | cut -d ' ' -f 1";
        self.run(running).trim().to_owned()
    }

    /// The response of the gateway on the address that the package configures.
    #[track_caller]
    fn get(&self) -> String {
        let retry = ["--retry", "60", "--retry-delay", "1", "--retry-connrefused"];
        let mut curl = self.inside("curl");
        curl.args(["-sSf"])
            .args(retry)
            .arg("http://127.0.0.1:8080/");
        String::from_utf8(done(&mut curl).stdout).unwrap()
    }

    /// A client that sends requests until it is dropped, each on a connection
    /// of its own.
    fn load(&self) -> Load {
        let mut command = self.inside("stdbuf");
        command
            .args(["-oL", "curl", "-s", "-H", "Connection: close"])
            .args(["-o", "/dev/null", "-w", "%{http_code}\\n"])
            .arg("http://127.0.0.1:8080/?[1-1000000]")
            .stdout(Stdio::piped());
        let mut client = command.spawn().expect("curl");
        let lines = BufReader::new(client.stdout.take().unwrap()).lines();
        let (sender, statuses) = mpsc::channel();
        std::thread::spawn(move || {
            for status in lines.map_while(Result::ok) {
                if sender.send(status).is_err() {
                    break;
                }
            }
        });
        Load { client, statuses }
    }

    fn has(&self, file: &str) -> bool {
        fs::symlink_metadata(self.root.path().join(file)).is_ok()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.path().join(file)).unwrap()
    }

    fn configure(&self, by: impl FnOnce(String) -> String) {
        change(&self.root.path().join(CONFIGURATION), by);
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// Requests that are sent all the time.
struct Load {
    client: Child,
    statuses: mpsc::Receiver<String>,
}

impl Load {
    /// Waits for that many responses from now on; all so far have to be fine.
    #[track_caller]
    fn pass(&self, further: usize) {
        let so_far: Vec<_> = self.statuses.try_iter().collect();
        let further = (0..further).map(|_| self.statuses.recv_timeout(TIMEOUT).unwrap());
        let wrong: Vec<_> = so_far
            .into_iter()
            .chain(further)
            .filter(|status| status != "200")
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn change(file: &Path, by: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, by(text)).unwrap();
}

/// Runs a command that has to succeed.
#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/all installs what is missing"));
    assert!(output.status.success(), "{command:?}\n{}", printed(&output));
    output
}

fn printed(output: &Output) -> String {
    let text = String::from_utf8_lossy;
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
