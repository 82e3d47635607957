#!/usr/bin/env python3
"""The cost of a shared limit: added latency at p50 and p99, and calls of the store per request, on a real Redis.

    apt-get install -y redis-server wrk
    cargo build --release && python3 benches/store.py      # about a minute; --secs changes that

The gateway responds by itself, so that only the limit is measured: latencies on one connection, calls on 64. Each row is
one gateway with one limit. "cold" uses another key for each request, which costs a round trip each; "0%" calls the store
for each request of one hot key; "5%" leases tokens ahead. Redis counts the calls (INFO commandstats). Rounds are
interleaved; the median of each figure is printed, and the difference to the local limit of the same round.
"""

import argparse
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile

from loopback import free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUN = pathlib.Path(tempfile.mkdtemp(prefix="store-"))
UNITS = {"us": 1, "ms": 1000, "s": 1_000_000}


def calls(redis):
    text = subprocess.run(["redis-cli", "-p", str(redis), "info", "commandstats"], capture_output=True, text=True).stdout
    found = re.search(r"cmdstat_evalsha:calls=(\d+)", text)
    return int(found[1]) if found else 0


def config(redis, port, scope, lease, key, rate, burst):
    store = f'[store]\nurl = "redis://127.0.0.1:{redis}"\ntimeout = "200ms"\nlease = "{lease}"\n' if scope == "shared" else ""
    return f"""{store}
[server]
workers = 1
[[listeners]]
bind = "127.0.0.1:{port}"
[admin]
bind = "off"
[log]
access = false
level = "error"
[limits.l]
scope = "{scope}"
rate = "{rate}"
burst = {burst}
{key}
[[routes]]
name = "r"
limits = ["l"]
respond = {{ status = 200, body = "ok" }}
"""


BINARY = ROOT / "target/release/tidegate"
ENDLESS = ("1000000/s", 1000000)
BY_USER = 'key = "header:x-user"\n'
ROWS = {  # scope, lease, key, numbers, each request its own key
    "local limit": ("local", "0%", "", ENDLESS, False),
    "shared, cold keys": ("shared", "5%", BY_USER, ENDLESS, True),
    "shared, hot key, lease 0%": ("shared", "0%", "", ENDLESS, False),
    "shared, hot key, lease 5%, below its rate": ("shared", "5%", "", ENDLESS, False),
    "shared, hot key, lease 5%, over its rate": ("shared", "5%", "", ("1000/s", 200), False),
}
COLD = RUN / "cold.lua"
COLD.write_text('n = 0\nrequest = function() n = n + 1; wrk.headers["x-user"] = n; return wrk.format("GET", "/") end\n')


def wrk(port, connections, secs, cold):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{secs}", "--latency", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command[:-1] + (["-s", str(COLD)] if cold else []) + command[-1:], capture_output=True, text=True).stdout
    figures = {}
    for percent in ("50", "99"):
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        figures[percent] = float(value) * UNITS[unit]
    return figures, int(re.search(r"(\d+) requests in", text)[1])


def measure(redis, row, secs):
    scope, lease, key, (rate, burst), cold = ROWS[row]
    port = free_port()
    file = RUN / "tidegate.toml"
    file.write_text(config(redis, port, scope, lease, key, rate, burst))
    gateway = subprocess.Popen([BINARY, "run", "--config", file], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        wrk(port, 1, 1, cold)
        alone, _ = wrk(port, 1, secs, cold)
        before = calls(redis)
        busy, requests = wrk(port, 64, secs, cold)
        return alone["50"], alone["99"], busy["50"], busy["99"], requests / secs, (calls(redis) - before) / requests
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--secs", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--binary", type=pathlib.Path, default=BINARY)
    options = arguments.parse_args()
    globals()["BINARY"] = options.binary
    redis = free_port()
    server = subprocess.Popen(["redis-server", "--port", str(redis), "--save", "", "--bind", "127.0.0.1"],
                              stdout=subprocess.DEVNULL, cwd=RUN)
    try:
        wait_for(redis)
        seen = {row: [] for row in ROWS}
        for _ in range(options.rounds):
            for row in ROWS:
                seen[row].append(measure(redis, row, options.secs))
    finally:
        server.kill()
        server.wait()
    print("| | alone: added p50 | added p99 | 64 connections: p50 | p99 | requests/s | calls a request |\n|---|---|---|---|---|---|---|")
    for row, rounds in seen.items():
        added = [[one[i] - base[i] for one, base in zip(rounds, seen["local limit"])] for i in (0, 1)]
        p50, p99 = (statistics.median(of) for of in added)
        busy50, busy99, pace, asked = (statistics.median(one[i] for one in rounds) for i in (2, 3, 4, 5))
        print(f"| {row} | {p50:.0f} us | {p99:.0f} us | {busy50:.0f} us | {busy99:.0f} us | {pace:.0f} | {asked:.4f} |")


if __name__ == "__main__":
    main()
