"""Memory for idle connections, requests in flight and keys of limits."""

import concurrent.futures
import contextlib
import re
import socket
import ssl
import threading
import time
import urllib.request

from .machine import RUN, Fleet, free_port
from .proxies import CERTIFICATE, Setup, start_with, tidegate
from .tls import certificate

PEERS = ("nginx", "haproxy", "envoy", "tidegate")
IDLE, IN_FLIGHT, KEYS = 10_000, 1_000, 1_000_000
# Number of connections that are opened concurrently.
OPENING = 16
# Number of requests written at once, for the keys.
BATCH = 200
TIMEOUT = 20
KIB, MIB = 1024, 1024**2


def memory(bench):
    """Growth of resident memory, measured once for each proxy and kind, since it is reproducible."""
    certificate()
    # A proxy may need a second descriptor for each connection, and some for everything else.
    idle = min(IDLE, (bench.file_limit - 200) // 2)
    if idle < IDLE:
        print(f"  (open files are limited to {bench.file_limit}: {idle} idle connections instead of {IDLE})")
    names = bench.names(*PEERS)
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        for title, tls in (("idle", False), ("idle, TLS", True)):
            growth(bench, f"memory: {idle} {title}", names, Setup(upstream, tls=tls), lambda p: open_idle(p, idle, tls))
    with silent_service() as (silent, taken):
        opening = lambda proxy: open_waiting(proxy, IN_FLIGHT, taken)
        growth(bench, f"memory: {IN_FLIGHT} in flight", names, Setup(silent), opening)
    if "tidegate" in names:
        limit_keys(bench)


def growth(bench, title, names, setup, opening):
    print(f"\n{title}\n{'':12}{'before MiB':>12}{'growth MiB':>12}{'KiB each':>10}{'tidegate / it':>15}")
    lines = {}
    for name in names:
        with Fleet() as fleet:
            proxy = bench.proxy(fleet, name, setup)
            time.sleep(0.5)
            before = proxy.memory()
            with contextlib.ExitStack() as held:
                opened, failed = opening(proxy)
                for client in opened:
                    held.enter_context(client)
                time.sleep(1)
                grown = proxy.memory() - before
                failed += sum(has_something(client) for client in opened)
                lines[name] = {"before": before, "growth": grown, "n": len(opened), "failed": failed}
    bench.measured[title] = lines
    for name, line in lines.items():
        each = line["growth"] / max(1, line["n"])
        ratio = lines["tidegate"]["growth"] / line["growth"] if "tidegate" in lines and line["growth"] > 0 else 0
        text = f"{name:12}{line['before'] / MIB:12.1f}{line['growth'] / MIB:12.1f}{each / KIB:10.2f}{ratio:15.2f}"
        if line["failed"]:
            bench.void.append(f"{title}: {name}")
            text += f"  VOID: {line['failed']} failed or closed, {line['n']} opened"
        print(text)


def open_idle(proxy, count, tls):
    """Opens connections, reads one response on each and keeps them open."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    def open_one(_):
        with contextlib.suppress(OSError):
            client = socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT)
            client = context.wrap_socket(client, server_hostname="localhost") if tls else client
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            if client.recv(4096).startswith(b"HTTP/1.1 200"):
                return client
        return None

    with concurrent.futures.ThreadPoolExecutor(OPENING) as pool:
        opened = [client for client in pool.map(open_one, range(count)) if client]
    return opened, count - len(opened)


def open_waiting(proxy, count, taken):
    """Sends requests that the service receives and does not respond to."""
    opened, before = [], len(taken)
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT)
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        opened.append(client)
    end = time.monotonic() + TIMEOUT
    while len(taken) - before < count and time.monotonic() < end:
        time.sleep(0.05)
    return opened, max(0, count - (len(taken) - before))


def has_something(client):
    """Whether the client got bytes or the end of its connection, although it should have got neither."""
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
        client.recv(1)
        return True
    return False


@contextlib.contextmanager
def silent_service():
    """Accepts connections and never sends anything."""
    listener = socket.create_server(("127.0.0.1", free_port()), backlog=4096)
    taken = []

    def take():
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    try:
        yield listener.getsockname()[1], taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in taken:
            connection.close()


def limit_keys(bench):
    """Creates a million keys by requests, each with a debt, so that it keeps its slot."""
    port, admin = free_port(), free_port()
    more = """
[limits.keys]
key = "header:x-key"
rate = "1/h"
burst = 2
[[routes]]
name = "keyed"
limits = ["keys"]
respond = { status = 200, body = "ok" }
match = { path = "/keyed" }
"""
    file = RUN / f"keys-{port}.conf"
    file.write_text(tidegate(Setup(free_port(), access_lines=False), port, admin, more))
    with Fleet() as fleet:
        proxy = fleet.start("tidegate", start_with("tidegate", file, Setup(0), bench.programs), "0", port)
        time.sleep(0.5)
        before = proxy.memory()
        failed = ask_keys(port, KEYS)
        time.sleep(1)
        grown, held = proxy.memory() - before, metric(admin, 'tidegate_limit_keys{limit="keys"}')
    bench.measured["memory: keys"] = {"growth": grown, "held": held, "failed": failed}
    sizes = f"{before / MIB:.1f} MiB before, {grown / MIB:.1f} MiB more, {grown / max(1, held):.1f} bytes a key"
    verdict = f"  VOID: {failed} not answered" if failed else ""
    print(f"\nmemory: keys of a limit, each asked for once\n{'tidegate':12}{held:.0f} of {KEYS} held, {sizes}{verdict}")
    if failed:
        bench.void.append("memory: keys")


def ask_keys(port, end):
    """The number of responses other than 200; ends at the first of them."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
        for start in range(0, end, BATCH):
            keys = range(start, min(start + BATCH, end))
            client.sendall(b"".join(b"GET /keyed HTTP/1.1\r\nhost: x\r\nx-key: key-%07d\r\n\r\n" % key for key in keys))
            answers = b""
            while answers.count(b"HTTP/1.1 ") < len(keys) or not answers.endswith(b"\r\n\r\nok"):
                read = client.recv(1 << 16)
                if not read:
                    return end - start
                answers += read
                if answers.count(b"HTTP/1.1 ") > answers.count(b"HTTP/1.1 200"):
                    return end - start
    return 0


def metric(admin, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=TIMEOUT) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found.group(1)) if found else 0.0
