#!/usr/bin/env python3
"""User-space instructions for a request, counted by callgrind and compared with those in `instructions.toml`.

    apt-get install -y valgrind nginx-light nghttp2-client
    python3 benches/instructions.py                                  # builds the binary that is shipped, and compares
    python3 benches/instructions.py small --nginx                    # NGINX beside it
    python3 benches/instructions.py small --keep profiles            # then callgrind_annotate --inclusive=yes FILE

A count is the same whatever else the machine does. It is the difference of a long and a short run, so that start and end do
not count. It does not depend on the model of the CPU: valgrind shows programs the same CPU on each machine with AVX2, so
that glibc, memchr and aws-lc take the same variants. It depends on the compiler and on Cargo.lock.

A count that is more than 2 % above the one that is checked in is a cost, and one that is more than 2 % below means that
the file is stale; both make the exit status 1. The rest is the room for timing: how many events one wake-up handles, and
how many digits the durations in access lines have.
"""

import argparse
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tomllib

from beside import loads, machine, proxies
from beside.machine import Fleet

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPECTED = ROOT / "benches" / "instructions.toml"
TOOLS = {"valgrind": "valgrind", "h2load": "nghttp2-client", "nginx": "nginx-light", "setpriv": "util-linux"}
TOLERANCE = 0.02
LONG, SHORT, CONNECTIONS = 6500, 500, 16
# Seconds until a program under valgrind has ended by itself, and written its profile.
END = 60

# Path, header lines, and whether a limit refuses the request.
REQUESTS = {
    "small": ("/", (), False),
    "browser": ("/answer/1k", proxies.BROWSER, False),
    "refused": ("/deny", (), True),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help=f"of {', '.join(REQUESTS)}")
    parser.add_argument("--tidegate", help="path of a binary that is already built")
    parser.add_argument("--nginx", action="store_true", help="count those of NGINX too")
    parser.add_argument("--traces", metavar="SHARE", default="", help="record this share of the requests, such as 1%%")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the profiles")
    options = parser.parse_args()
    wrong = [name for name in options.requests if name not in REQUESTS]
    if wrong:
        parser.error(f"unknown: {', '.join(wrong)}")
    options.requests = options.requests or list(REQUESTS)
    return options


def programs(options):
    """Finds the programs that count, and builds the gateway."""
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if missing:
        sys.exit(f"missing: apt-get install --no-install-recommends {' '.join(missing)}")
    if platform.machine() != "x86_64" or " avx2 " not in pathlib.Path("/proc/cpuinfo").read_text():
        sys.exit(f"{EXPECTED.name} has the figures of x86-64 with AVX2, which this machine does not have")
    if not options.tidegate:
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "tidegate"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    tidegate = pathlib.Path(options.tidegate or target / "release" / "tidegate").resolve()
    return {"nginx": shutil.which("nginx"), "tidegate": tidegate}


def count(name, request, found, setup, keep):
    """Instructions for a request: those of the long run without those of the short one."""
    long, short = (run(name, request, found, setup, keep, number) for number in (LONG, SHORT))
    return round((long - short) / (LONG - SHORT))


def run(name, request, found, setup, keep, number):
    """Instructions of a whole process that answers a number of requests."""
    path, lines, refused = REQUESTS[request]
    profile = keep / f"{name}-{request}-{number}.callgrind"
    profile.unlink(missing_ok=True)
    port = machine.free_port()
    command = proxies.command(name, setup, port, found)
    # callgrind writes one profile for each process; NGINX with one process has a worker only.
    command += ["-g", "master_process off;"] if name == "nginx" else []
    command = ["valgrind", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={profile}", *command]
    with Fleet() as fleet:
        proxy = fleet.start(name, command, machine.PROXIES, port)
        result = loads.h2load(port, path, CONNECTIONS, requests=number, http1=True, headers=lines)
        # The first request to /deny is admitted.
        expected = {"answers": 1, "refused": number - 1} if refused else {"answers": number, "refused": 0}
        if expected.items() - result.items():
            sys.exit(f"{name}, {request}: {result} instead of {expected}")
        proxy.process.terminate()
        proxy.process.wait(END)
    totals = re.search(r"^totals: (\d+)", profile.read_text(), re.MULTILINE)
    return int(totals.group(1))


def judged(request, found, expected):
    """The line about a count and what is to be done; the latter is empty if the count is as expected."""
    change = found / expected - 1
    line = f"{request} takes {found:,} instructions, {expected:,} are checked in ({100 * change:+.1f} %)"
    write = f"write {request} = {found} into {EXPECTED.relative_to(ROOT)} and say so in the commit"
    if abs(change) <= TOLERANCE:
        return line, ""
    return line, f"if the change is worth it, {write}" if change > 0 else f"the figure is stale: {write}"


def compiler():
    return subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


def main():
    options = arguments()
    found = programs(options)
    expected = tomllib.loads(EXPECTED.read_text())
    keep = (options.keep or machine.RUN).resolve()
    keep.mkdir(parents=True, exist_ok=True)
    wrong = []
    with Fleet() as fleet:
        upstream, _ = proxies.start_upstream(fleet, found)
        setup = proxies.Setup(upstream, traces=options.traces)
        for request in options.requests:
            counted = count("tidegate", request, found, setup, keep)
            line, remedy = judged(request, counted, expected[request])
            wrong += [f"{line}: {remedy}"] if remedy else []
            if options.nginx:
                beside = count("nginx", request, found, setup, keep)
                line += f"; NGINX {beside:,}, {counted / beside:.2f} of it"
            print(line, flush=True)
    if wrong and compiler() != expected["rustc"]:
        wrong.append(f"The reason may be the compiler: {expected['rustc']} is checked in, and this is {compiler()}.")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
