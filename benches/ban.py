#!/usr/bin/env python3
"""The cost of what a banned address sends, beside a refusal by a limit: CPU time of the gateway, and its instructions.

    apt-get install -y valgrind nghttp2-client openssl
    cargo build --release && python3 benches/ban.py          # about two minutes; --rounds changes that

"connection" opens a connection for each attempt, as a flood without keep-alive does, sends one request and reads to the
end: once to a limit that refuses it with 429, and once to one that has banned the address at the connection. Attempts
without TLS come faster than they are served: they wait in the kernel's queue while the gateway is stopped. Those with TLS
are made one after the other. CPU time is that of all threads of the gateway, in the kernel as well; the part of the kernel
that runs in the client's context is not in it. Rounds are interleaved; the median of each figure is printed.

"request" counts user-space instructions of a request over open connections (callgrind, as `instructions.py` does it): of a
429 by a limit without bans, of one by a limit that counts for bans, and of a banned request.
"""

import argparse
import contextlib
import pathlib
import re
import signal
import socket
import ssl
import statistics
import sys
import time

from beside import loads, machine, proxies
from beside.machine import Fleet
from beside.tls import certificate

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LONG, SHORT, CONNECTIONS = 6500, 500, 16
# Seconds until a program under valgrind has ended by itself, and written its profile.
END = 60
# Attempts without TLS that wait together: fewer than the kernel's queue holds, and than one client may have connections.
TOGETHER = 500
BAN = 'ban = {{ refusals = {refusals}, within = "1h", for = "1h", at = "{at}" }}'
# The bans of a limit that counts and never bans, and of those that ban the second request.
COUNTS, AT_REQUEST, AT_CONNECTION = (
    BAN.format(refusals=refusals, at=at)
    for refusals, at in ((1_000_000, "request"), (1, "request"), (1, "connection"))
)


def start(fleet, binary, ban, tls=False, before=()):
    """A gateway with one worker, whose limit admits one request an hour."""
    port = machine.free_port()
    lines = f'[listeners.tls]\ncertificates = [{{ cert = "{proxies.CERTIFICATE}", key = "{proxies.KEY}" }}]\n' if tls else ""
    file = machine.RUN / f"ban-{port}.toml"
    file.write_text(f"""[server]
workers = 1
max_connections_per_client = 1000
[[listeners]]
bind = "127.0.0.1:{port}"
{lines}[admin]
bind = "off"
[limits.l]
key = "client-ip"
rate = "1/h"
{ban}
[[routes]]
name = "r"
limits = ["l"]
respond = {{ status = 200, body = "ok" }}
""")
    return fleet.start("tidegate", [*before, binary, "run", "--config", file], machine.PROXIES, port)


def answer(connection):
    """The status that a connection brings to its end, which is nothing if it was closed."""
    got = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := connection.recv(65536):
            got += piece
    return got[9:12]


def flood(gateway, _):
    """Attempts that wait in the queue together. What each was answered."""
    gateway.process.send_signal(signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{gateway.process.pid}/task")
    while any(") T " not in (task / "stat").read_text() for task in tasks.iterdir()):
        time.sleep(0.001)
    clients = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(TOGETHER)]
    for client in clients:
        client.sendall(REQUEST)
    gateway.process.send_signal(signal.SIGCONT)
    answers = [answer(client) for client in clients]
    for client in clients:
        client.close()
    return answers


def secured(gateway, tls):
    """One attempt with TLS. What it was answered."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        with socket.create_connection(("127.0.0.1", gateway.port)) as plain, tls.wrap_socket(plain) as connection:
            connection.sendall(REQUEST)
            return [answer(connection)]
    return [b""]


def context():
    """TLS without verification and without resumption, as each connection is that of a stranger."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def cpu_time(binary, ban, kind, expected):
    """CPU seconds of the gateway for an attempt, once it refuses."""
    attempt, attempts = KINDS[kind]
    tls = context() if kind == "TLS" else None
    with Fleet() as fleet:
        gateway = start(fleet, binary, ban, tls=bool(tls))
        for _ in range(5):
            attempt(gateway, tls)
        before, made = gateway.cpu_seconds(), 0
        while made < attempts:
            answers = attempt(gateway, tls)
            made += len(answers)
            if set(answers) != {expected}:
                sys.exit(f"{kind}, {ban or 'no ban'}: {set(answers)} instead of {expected}")
        return (gateway.cpu_seconds() - before) / made


# How an attempt is made, and how many of a round are measured; a handshake takes the client a millisecond.
KINDS = {"plain": (flood, 10_000), "TLS": (secured, 1500)}


def connections(binary, rounds):
    print("| connection | 429 | banned | ratio |\n|---|---|---|---|", flush=True)
    for kind in KINDS:
        refused, banned = [], []
        for _ in range(rounds):
            refused.append(cpu_time(binary, "", kind, b"429"))
            banned.append(cpu_time(binary, AT_CONNECTION, kind, b""))
        ratio = statistics.median(one / other for one, other in zip(banned, refused))
        micros = [1e6 * statistics.median(of) for of in (refused, banned)]
        print(f"| {kind} | {micros[0]:.1f} us | {micros[1]:.1f} us | {ratio:.2f} |", flush=True)


def instructions(binary, ban):
    """Instructions for a request: those of the long run without those of the short one."""
    totals = []
    for number in (LONG, SHORT):
        profile = machine.RUN / f"ban-{number}.callgrind"
        profile.unlink(missing_ok=True)
        before = ["valgrind", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={profile}"]
        with Fleet() as fleet:
            gateway = start(fleet, binary, ban, before=before)
            result = loads.h2load(gateway.port, "/", CONNECTIONS, requests=number, http1=True)
            if result["refused"] != number - 1:
                sys.exit(f"{ban or 'no ban'}: {result}")
            gateway.process.terminate()
            gateway.process.wait(END)
        totals.append(int(re.search(r"^totals: (\d+)", profile.read_text(), re.MULTILINE).group(1)))
    return round((totals[0] - totals[1]) / (LONG - SHORT))


def requests(binary):
    print("\n| request | instructions |\n|---|---|", flush=True)
    for name, ban in (("429", ""), ("429 that counts for a ban", COUNTS), ("banned", AT_REQUEST)):
        print(f"| {name} | {instructions(binary, ban):,} |", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/tidegate")
    arguments.add_argument("--only", choices=("connection", "request"))
    options = arguments.parse_args()
    binary = options.binary.resolve()
    machine.raise_file_limit()
    certificate()
    if options.only != "request":
        connections(binary, options.rounds)
    if options.only != "connection":
        requests(binary)


if __name__ == "__main__":
    main()
