"""TLS 1.3 with one certificate (ECDSA P-256), one suite and one group for all: handshakes, and long responses."""

import subprocess

from . import loads
from .machine import Fleet
from .proxies import BOTH, CERTIFICATE, KEY, Setup

PEERS = ("nginx", "haproxy", "envoy", "tidegate")
GIB = 1024**3
# Responses of 16 MiB for each second of a round, and number of connections that request them.
BIG_ANSWERS, BIG_CONNECTIONS = 32, 4


def certificate():
    if BOTH.exists():
        return
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", KEY, "-out", CERTIFICATE], check=True, capture_output=True)
    BOTH.write_text(CERTIFICATE.read_text() + KEY.read_text())
    for file in (KEY, BOTH):
        file.chmod(0o600)


def tls_full(bench):
    """Full handshakes."""
    handshakes(bench, "tls-full", resumed=False)


def tls_resumed(bench):
    """Handshakes that resume a session with a ticket and a new key exchange."""
    handshakes(bench, "tls-resumed", resumed=True)


def handshakes(bench, title, resumed):
    certificate()
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, bench.names(*PEERS), Setup(upstream, tls=True))
        say_what_is_agreed(proxies)
        results = bench.measure(proxies, lambda proxy, secs: loads.handshakes(proxy.port, secs, resumed))
    bench.table(title, results, "nginx", "a connection: TCP, handshake, one short answer of its own, close")


def tls_bulk(bench):
    """Responses of 16 MiB, which come from the service without TLS."""
    certificate()
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, bench.names(*PEERS), Setup(upstream, tls=True))
        say_what_is_agreed(proxies)
        results = bench.measure(proxies, bulk, unit="gib")
    bench.table("tls-bulk", results, "nginx", "a GiB", scale=1, unit="s")


def bulk(proxy, secs):
    result = loads.h2load(
        proxy.port, "/answer/16m", BIG_CONNECTIONS, requests=BIG_ANSWERS * secs, tls=True, http1=True
    )
    result["gib"] = result["bytes"] / GIB
    result["failed"] += result["bytes"] != BIG_ANSWERS * secs * 16 * 1024**2
    return result


def say_what_is_agreed(proxies):
    agreed = {name: loads.agreed(proxy.port) for name, proxy in proxies.items()}
    for what in sorted(set(agreed.values())):
        print(f"  {what}: {', '.join(name for name in agreed if agreed[name] == what)}")
    if len(set(agreed.values())) > 1:
        print("  NOT THE SAME for all: what follows compares different work")
