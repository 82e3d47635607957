"""Load generators, all on the core of the loads. Each returns `answers`, `failed`, and further figures if it has them."""

import json
import re
import subprocess

from .machine import LOADS, RUN, on_core
from .proxies import CERTIFICATE

# The only suite that clients offer, so that all proxies use the same encryption; the key exchange is X25519.
SUITE = "TLS_AES_128_GCM_SHA256"
# Number of concurrent handshakes.
PARALLEL = 4
# Seconds that a load may exceed its duration.
GRACE = 60


def run(command, secs, core=LOADS):
    result = subprocess.run(on_core(core, command), capture_output=True, text=True, timeout=secs + GRACE)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stdout[-1000:]}{result.stderr[-1000:]}")
    return result.stdout


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def in_ms(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[unit]


def wrk(port, path, conns, secs, refused=False, core=LOADS, threads=1, headers=(), upload=0):
    """HTTP/1 with keep-alive, one request in flight on each connection.

    `refused`: responses other than 2xx are expected. `upload`: requests are POST, with a body of so many bytes.
    """
    command = ["wrk", f"-t{threads}", f"-c{conns}", f"-d{secs}s", "--latency", *in_turn("-H", headers)]
    if upload:
        script = RUN / f"upload-{upload}.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {upload})\n')
        command += ["-s", script]
    out = run([*command, f"http://127.0.0.1:{port}{path}"], secs, core)
    answers, other = number(r"(\d+) requests in", out), number(r"Non-2xx or 3xx responses: (\d+)", out)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    broken = sum(map(int, sockets.groups())) if sockets else 0
    return {
        "answers": answers,
        # The first request to /deny is admitted; in a later round possibly none is.
        "failed": broken + (max(0, answers - other - 2) if refused else other),
        "p50": in_ms(re.search(r"\n\s+50%\s+(\S+)", out).group(1)),
        "p99": in_ms(re.search(r"\n\s+99%\s+(\S+)", out).group(1)),
    }


def in_turn(option, values):
    return [word for value in values for word in (option, value)]


def h2load(port, path, conns, streams=1, secs=None, requests=None, tls=False, http1=False, headers=()):
    """HTTP/2 with prior knowledge, or HTTP/1, for a time or a number of requests; `bytes` counts bodies."""
    command = ["h2load", "-t1", f"-c{conns}", f"-m{streams}", *([f"-D{secs}"] if secs else [f"-n{requests}"])]
    command += ["--h1"] if http1 else []
    command += in_turn("-H", headers)
    command += ["--tls13-ciphers", SUITE, "--groups", "X25519"] if tls else []
    out = run([*command, f"http{'s' if tls else ''}://127.0.0.1:{port}{path}"], secs or 60)
    counts = re.search(r"requests: .*? (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
    done, succeeded, *bad = map(int, counts.groups())
    missing = max(0, requests - succeeded) if requests else 0
    return {
        "answers": succeeded,
        "refused": number(r"(\d+) 4xx", out),
        "failed": max(sum(bad), done - succeeded, missing, done - number(r"status codes: (\d+) 2xx", out)),
        "bytes": number(r"headers \(space savings .*?\), [\d.]+\w+ \((\d+)\) data", out),
    }


def handshakes(port, secs, resumed):
    """TLS 1.3 connections with one short response on each (/own), by several concurrent `openssl s_time`."""
    kind = "-reuse" if resumed else "-new"
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-ciphersuites", SUITE, kind]
    command += ["-CAfile", CERTIFICATE, "-www", "/own", "-time", secs]
    clients = [
        subprocess.Popen(on_core(LOADS, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(PARALLEL)
    ]
    total = {"answers": 0, "failed": 0}
    for client in clients:
        out, _ = client.communicate(timeout=secs + GRACE)
        count = number(r"(\d+) connections in \d+ real seconds", out)
        # One mark for each connection: "*" for a full handshake, "r" for a resumed one.
        marks = "".join(re.findall(r"^[*rt]+$", out, re.MULTILINE))
        wrong = abs(count - marks.count("r" if resumed else "*")) if count else 1
        short = number(r"(\d+) bytes read per connection", out) < 30
        total["answers"] += count
        total["failed"] += wrong + abs(client.returncode) + (count if short else 0)
    return total


def agreed(port):
    """Suite, group and signature that a handshake with this proxy negotiates."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ciphersuites", SUITE, "-CAfile", CERTIFICATE]
    result = subprocess.run([*map(str, command)], input="", capture_output=True, text=True, timeout=10)
    found = [re.search(p, result.stdout) for p in (r"Cipher is (\S+)", r"Temp Key: (\w+)", r"signature type: (\S+)")]
    return " ".join(match.group(1) if match else "?" for match in found)


def echo(program, port, conns, secs):
    return json.loads(run([program, "ask", f"127.0.0.1:{port}", conns, secs], secs))


def steady(program, port, path, rate, conns, secs):
    return json.loads(run([program, f"127.0.0.1:{port}", path, int(rate), conns, secs], secs))
