"""Processes of a run: each is pinned to a core and ends with the run. Also their use of CPU time and memory."""

import atexit
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Core of the proxies, and core of loads and upstreams.
PROXIES, LOADS = "0", "1"

RUN = pathlib.Path(tempfile.mkdtemp(prefix="side-by-side-"))
RUN.chmod(0o755)
atexit.register(shutil.rmtree, RUN, ignore_errors=True)


def raise_file_limit():
    """Raises the limit of open files to the hard limit, which child processes inherit, and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 65536), max(hard, 65536)))
        return max(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_core(core, command):
    """The command, pinned to a core and set to end when this process dies."""
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", core, *map(str, command)]


class Running:
    """A process with its children, and the port that it listens on."""

    def __init__(self, name, command, core, port):
        self.name, self.port = name, port
        self.log = RUN / f"{name}-{port}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(on_core(core, command), stdout=log, stderr=log, start_new_session=True)

    def pids(self):
        return family(self.process.pid)

    def cpu_seconds(self):
        """CPU time of all threads, from a source with nanoseconds instead of the ticks of /proc/PID/stat."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory(self):
        """Resident bytes. Memory that several processes of one proxy share counts once (PSS)."""
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def wait(self, seconds=30):
        """Waits until the process listens."""
        end = time.time() + seconds
        while time.time() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        sys.exit(f"{self.name} does not listen on port {self.port}:\n{tail}")

    def forget_log(self):
        """Truncates the logs: they are written in full, and a run of an hour would fill the disk."""
        for log in (self.log, RUN / f"nginx-{self.port}.access"):
            if log.exists():
                os.truncate(log, 0)


def family(pid):
    found = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            found += [other for child in children for other in family(int(child))]
    return found


class Fleet:
    """The processes of one scenario; all of them end with the `with` block."""

    def __enter__(self):
        self.started = []
        return self

    def start(self, name, command, core, port):
        running = Running(name, command, core, port)
        self.started.append(running)
        return running.wait()

    def __exit__(self, *_):
        for running in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGTERM)
        for running in self.started:
            try:
                running.process.wait(5)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait(5)
            running.log.unlink(missing_ok=True)
