#!/usr/bin/env python3
"""A soak test: everything at once for some minutes, then a check that nothing of it remains.

    cargo build --release
    python3 tests/soak.py                   # three minutes; --minutes changes that
    python3 tests/soak.py --binary target/debug/tidegate

One tidegate runs between clients and two services on loopback. The services are killed and restarted in turn. Clients use
HTTP/1, HTTP/2 (h2load, if it is installed), TLS and tunnels, read slowly, and leave in the middle of heads, bodies and
responses. The configuration is reloaded all the time, with other numbers, routes, servers and listeners, and with mistakes.

There are two rounds of the same kind. After each, the load ends, and everything has to return to its initial state, seen
from outside: requests in flight, queues, connections on both sides, file descriptors, threads, panics. If rounds take 20
seconds or more, memory after the second round is compared with memory after the first. All waits are for conditions, each
up to a deadline.
Prints a table; the exit status is 1 if something leaks or a response cannot be explained.
"""

import argparse
import asyncio
import collections
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Longest wait for a condition. The longest expected one is a timeout of the configuration below, five seconds.
DEADLINE = 30
# Allowed growth of resident memory from the end of the first round to that of the last. The allocator keeps some freed
# memory: rounds of the same kind end between 30 and 46 MiB, in any order. A leak of a kilobyte in each exchange would
# exceed this in a minute.
MEMORY_MARGIN = 16 * 1024 * 1024
# Shorter rounds show nothing about memory, which is still growing to the needs of the load.
SHORTEST_FOR_MEMORY = 20

SMALL = b"0123456789" * 13
LARGE = bytes(range(256)) * 1024

# The state that has to return to its initial value, and the metrics that show it.
GAUGES = {
    "requests in flight": ["tidegate_in_flight"],
    "waiting in queues": ["tidegate_queued"],
    "client connections": ["tidegate_connections"],
    "handshakes": ["tidegate_tls_handshakes_in_progress"],
    "service connections": ["tidegate_upstream_connections"],
    "permits of services": ["tidegate_upstream_in_flight"],
    "waiting for services": ["tidegate_upstream_queued"],
    "open files": ["process_open_fds"],
    "panics": ["tidegate_panics_total"],
}

# Statuses of the gateway itself that such a run explains: limits, caps, killed services.
REFUSALS = {429, 502, 503, 504}


# ---- a service ---------------------------------------------------------------------------------------------------------


async def serve_connection(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
            fields = dict(re.findall(r"(?m)^([^:\r\n]+): *([^\r\n]*)", head.split("\r\n", 1)[1].lower()))
            path = target.split("?")[0]
            if fields.get("upgrade"):
                return await echo(reader, writer)
            if path == "/post/early":
                # Responds and closes without reading the body.
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nearly")
                return await writer.drain()
            length = await read_body(reader, fields)
            await answer(writer, path, length)
            if path == "/broken":
                return
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def read_body(reader, fields):
    if "chunked" in fields.get("transfer-encoding", ""):
        total = 0
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
            total += size
        await reader.readuntil(b"\r\n")
        return total
    length = int(fields.get("content-length", 0))
    await reader.readexactly(length)
    return length


async def answer(writer, path, length):
    if path.startswith("/post"):
        body = str(length).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    elif path.startswith("/large"):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(LARGE), LARGE))
    elif path.startswith("/chunks"):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"82\r\n%s\r\n" % SMALL)
            await writer.drain()
            await asyncio.sleep(0.005)
        writer.write(b"0\r\n\r\n")
    elif path == "/broken":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + SMALL)
    elif path == "/unwell":
        writer.write(b"HTTP/1.1 503 Unwell\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
    else:
        if path.startswith(("/slow", "/capped")):
            await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(SMALL), SMALL))
    await writer.drain()


async def echo(reader, writer):
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
    while some := await reader.read(4096):
        writer.write(some)
        await writer.drain()


async def service(port):
    server = await asyncio.start_server(serve_connection, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


# ---- processes ----------------------------------------------------------------------------------------------------------


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Service:
    def __init__(self, port):
        self.port, self.process = port, None

    async def start(self):
        command = [sys.executable, __file__, "--service", str(self.port)]
        self.process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        await asyncio.wait_for(self.process.stdout.readline(), DEADLINE)

    async def kill(self):
        self.process.kill()
        await self.process.wait()


class Run:
    """The state that the parts of a run share."""

    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
        self.port = dict(zip(("plain", "tls", "second", "admin", "one", "other"), free_ports(6)))
        self.services = [Service(self.port["one"]), Service(self.port["other"])]
        self.taken = socket.create_server(("127.0.0.1", 0))
        self.kills = []
        self.done = collections.Counter()
        # The highest value seen of each metric.
        self.most = collections.Counter()
        self.unexplained = []
        self.stopping = asyncio.Event()
        self.gateway = None

    def count(self, what):
        self.done[what] += 1

    def wonder(self, what):
        self.done["unexplained"] += 1
        if len(self.unexplained) < 20:
            self.unexplained.append(what)

    def was_killed_since(self, since):
        return bool(self.kills) and self.kills[-1] >= since - 0.1

    # -- the gateway

    def config(self, dice=None):
        """The text of the configuration that begins and ends each round or, with `dice`, of a random one."""
        calm = dice is None
        pick = (lambda ordinary, *others: ordinary) if calm else (lambda *all: dice.choice(all))
        server = [f'"http://127.0.0.1:{self.port[name]}"' for name in ("one", "other")]
        servers = ", ".join(pick(server, server, server[:1], server[::-1]))
        listeners = [("plain", ""), ("tls", f'tls.certificates = [{{ cert = "{self.folder}/c.pem", key = "{self.folder}/k.pem" }}]')]
        if pick(False, True):
            listeners.append(("second", ""))
        if pick(False, True):
            listeners.reverse()
        text = f"""
server.workers = 2
admin.bind = "127.0.0.1:{self.port['admin']}"
shutdown.drain = "5s"
"""
        for name, more in listeners:
            text += f"""
[[listeners]]
bind = "127.0.0.1:{self.port[name]}"
timeouts = {{ headers = "2s", keep_alive = "{pick(5, 4, 3)}s", tls_handshake = "2s" }}
{more}
"""
        for name in ("app", "copies"):
            text += f"""
[upstreams.{name}]
servers = [{servers}]
balance = "{pick('least-requests', 'round-robin', 'peak-ewma')}"
concurrency = {{ max = {pick(48, 32, 16)}, queue = {pick(64, 16)}, queue_timeout = "250ms" }}
ejection = {{ base = "100ms", max = "500ms" }}
[upstreams.{name}.pool]
max_connections = {pick(64, 40)}
max_idle = {pick(32, 4, 0)}
idle_timeout = "1s"
connect_timeout = "500ms"
wait_timeout = "300ms"
"""
            if pick(False, False, True):
                text += f'[upstreams.{name}.health_check]\npath = "/healthz"\ninterval = "100ms"\ntimeout = "200ms"\n'
        text += f"""
[limits.per-key]
key = "header:x-key"
rate = "{pick(20000, 5000, 100)}/s"
max_keys = {pick(2000, 1000)}
[limits.tight]
key = ["client-ip", "query:q"]
rate = "{pick(50, 5)}/s"
burst = {pick(20, 5)}
max_keys = 1000
"""
        cap = pick("max = 4", "max = 2", "max = 12", "adaptive = { min = 2, max = 16 }")
        retry = 'retry = { attempts = 2, on = ["connect", "reset", "502"] }'
        routes = {
            "small": f'limits = ["per-key"]\n{retry}\nmatch.path_prefix = "/small"',
            "limited": 'limits = ["tight", "per-key"]\nmatch.path_prefix = "/small/limited"',
            "capped": f'match.path_prefix = "/capped"\nconcurrency = {{ {cap}, queue = 8, queue_timeout = "100ms", fair_by = "header:x-key" }}',
            "mirrored": 'match.path_prefix = "/small/mirrored"\nmirror = { upstream = "copies", percent = 50 }',
            "tunnel": 'match.path_prefix = "/tunnel"\ntimeouts.tunnel = "5s"',
            "others": f'{retry}\ntimeouts = {{ total = "2s", idle = "2s" }}\nrequest.max_body = "1MiB"',
        }
        if pick(False, True):
            routes["now and then"] = f'limits = ["per-key"]\nmatch.path = "/small/{{id}}"\nconcurrency = {{ max = 8, queue = 4 }}\n{retry}'
        for name, more in routes.items():
            text += f'[[routes]]\nname = "{name}"\nupstream = "app"\n{more}\n'
        return text

    def broken_config(self, dice):
        text = self.config(dice)
        return dice.choice([
            text + "\n[limits\n",
            text + '\n[[routes]]\nname = "lost"\nupstream = "nowhere"\n',
            # Valid, but the address is in use.
            text + f'\n[[listeners]]\nbind = "127.0.0.1:{self.taken.getsockname()[1]}"\n',
            "",
        ])

    def write_config(self, text):
        new = self.folder / "tidegate.toml.new"
        new.write_text(text)
        new.rename(self.folder / "tidegate.toml")

    async def reload(self, text):
        before = (await self.metrics())["tidegate_config_reloads_total"]
        self.write_config(text)
        self.gateway.send_signal(signal.SIGHUP)

        async def is_done():
            return (await self.metrics())["tidegate_config_reloads_total"] > before

        await wait_until(is_done, "a reload")

    async def start_gateway(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", self.folder / "k.pem", "-out", self.folder / "c.pem"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.write_config(self.config())
        command = [str(self.options.binary), "run", "--config", str(self.folder / "tidegate.toml")]
        log = open(self.folder / "log", "wb")
        self.gateway = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

        async def is_ready():
            if self.gateway.poll() is not None:
                raise SystemExit(f"tidegate did not start:\n{(self.folder / 'log').read_text()}")
            try:
                await self.metrics()
                return True
            except OSError:
                return False

        await wait_until(is_ready, "tidegate to start")

    async def metrics(self):
        """The sum of each family, and the number of series."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port["admin"])
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        text = (await reader.read(-1)).decode()
        writer.close()
        sums = collections.Counter()
        for name, labels, value in re.findall(r"(?m)^(\w+)(\{[^\n]*\})? ([-+.\deE]+)$", text):
            sums[name] += float(value)
            sums["series"] += 1
            if name == "tidegate_refusals_total":
                sums["refusals: " + re.search(r'reason="(\w+)"', labels)[1]] += float(value)
        for name, value in sums.items():
            self.most[name] = max(self.most[name], value)
        return sums

    def stands(self, metrics):
        """The state that has to be the same before and after."""
        sums = {name: sum(metrics[family] for family in families) for name, families in GAUGES.items()}
        of_process = pathlib.Path("/proc") / str(self.gateway.pid)
        open_files = list(links(of_process / "fd"))
        return {
            **sums,
            "sockets": sum(file.startswith("socket:") for file in open_files),
            "other open files": sum(not file.startswith("socket:") for file in open_files),
            "threads": len(os.listdir(of_process / "task")),
        }

    def resident(self):
        status = (pathlib.Path("/proc") / str(self.gateway.pid) / "status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def links(folder):
    """The targets of the links in a folder, without links that disappear meanwhile."""
    for name in os.listdir(folder):
        try:
            yield os.readlink(folder / name)
        except FileNotFoundError:
            pass


async def wait_until(condition, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while not await condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline} s for {what}")
        await asyncio.sleep(0.05)


# ---- clients --------------------------------------------------------------------------------------------------------------


class Client:
    """One connection, read and written as bytes."""

    def __init__(self, run):
        self.run = run
        self.reader = self.writer = None

    async def connect(self, name="plain", tls=None, receive_buffer=None):
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.run.port[name]))
        more = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=16384, **more)
        return self

    async def send(self, bytes):
        self.writer.write(bytes)
        await self.writer.drain()

    async def head(self):
        """Status and fields of a response."""
        while True:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            if status >= 200 or status == 101:
                return status, dict(re.findall(r"(?m)^([^:\r\n]+): *([^\r\n]*)", head.split("\r\n", 1)[1]))

    async def body(self, fields):
        if "chunked" in fields.get("transfer-encoding", ""):
            body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readuntil(b"\r\n")
            return body
        return await self.reader.readexactly(int(fields.get("content-length", 0)))

    async def leave(self, rudely):
        if self.writer is None:
            return
        sock = self.writer.get_extra_info("socket")
        if rudely and sock and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


GONE = (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)


async def exchange(run, client, request, expected, kind, allowed):
    """Sends a request and checks that its response is correct or explained. Returns whether the connection can be reused."""
    since, status = time.monotonic(), None
    try:
        await client.send(request)
        status, fields = await asyncio.wait_for(client.head(), DEADLINE)
        body = await asyncio.wait_for(client.body(fields), DEADLINE)
    except GONE as fault:
        if status is not None and run.was_killed_since(since):
            run.count(f"{kind}: cut with its service")
        else:
            run.wonder(f"{kind}: {fault!r} after status {status}")
        return False
    except asyncio.TimeoutError:
        run.wonder(f"{kind}: no answer in {DEADLINE} s, status {status}")
        return False
    run.count(f"{kind}: {status}")
    if status == 200 and body != expected:
        run.wonder(f"{kind}: {len(body)} bytes that are not those that were sent")
    elif status != 200 and status not in allowed:
        run.wonder(f"{kind}: status {status}: {body[:200]!r}")
    return fields.get("connection") != "close"


async def getter(run, dice, tls=None):
    """Sends valid requests one after the other."""
    kind, name = ("GET by TLS", "tls") if tls else ("GET", "plain")
    paths = {"/small": SMALL, "/small/limited": SMALL, "/small/mirrored": SMALL, "/capped": SMALL, "/slow": SMALL,
             "/large": LARGE, "/chunks": SMALL * 20}
    client = await Client(run).connect(name, tls)
    try:
        for _ in range(dice.randrange(1, 60)):
            path = dice.choice(list(paths))
            request = f"GET {path}?q={dice.randrange(3)} HTTP/1.1\r\nHost: localhost\r\nx-key: {dice.randrange(5000)}\r\n\r\n"
            if not await exchange(run, client, request.encode(), paths[path], kind, REFUSALS) or run.stopping.is_set():
                return
    finally:
        await client.leave(rudely=dice.random() < 0.2)


async def poster(run, dice):
    client = await Client(run).connect()
    try:
        for _ in range(dice.randrange(1, 10)):
            size = dice.choice([0, 1, 1000, 70_000, 300_000])
            head = f"POST /post HTTP/1.1\r\nHost: localhost\r\nx-key: {dice.randrange(9)}\r\n".encode()
            if dice.random() < 0.5:
                request = head + b"content-length: %d\r\n\r\n" % size + bytes(size)
            else:
                chunk = b"%x\r\n%s\r\n" % (size, bytes(size)) if size else b""
                request = head + b"transfer-encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
            # A refusal of the body may close the connection before all of it is sent.
            if not await exchange(run, client, request, str(size).encode(), "POST", REFUSALS) or run.stopping.is_set():
                return
    finally:
        await client.leave(rudely=dice.random() < 0.2)


async def slow_reader(run, dice):
    client = await Client(run).connect(receive_buffer=4096)
    try:
        await client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * dice.randrange(1, 3))
        for _ in range(dice.randrange(30)):
            if run.stopping.is_set() or not await client.reader.read(2048):
                break
            await asyncio.sleep(0.01)
        run.count("slow readers")
    except GONE:
        run.count("slow readers that were cut off")
    finally:
        await client.leave(rudely=dice.random() < 0.7)


async def quitter(run, dice):
    """Leaves in the middle of something."""
    cut = dice.choice([
        ("nothing", b""),
        ("a head", b"GET /small HTTP/1.1\r\nHost: localhost\r\nx-ke"),
        ("a body", b"POST /post HTTP/1.1\r\nHost: localhost\r\ncontent-length: 100000\r\n\r\n" + bytes(dice.choice([0, 10, 90_000]))),
        ("a chunk", b"POST /post HTTP/1.1\r\nHost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nabc"),
        ("a refused body", b"POST /post/early HTTP/1.1\r\nHost: localhost\r\ncontent-length: 900000\r\n\r\n" + bytes(50_000)),
        ("a wait", b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a queue", b"GET /capped HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a mirrored body", b"POST /small/mirrored HTTP/1.1\r\nHost: localhost\r\ncontent-length: 9000\r\n\r\n" + bytes(8000)),
        ("an answer", b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("chunks of an answer", b"GET /chunks HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a pipeline", b"GET /capped HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20),
        ("a broken answer", b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a service that is unwell", b"GET /unwell HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])),
        ("half of HTTP/2's preface", b"PRI * HTTP/2.0\r\n"),
        ("garbage", dice.randbytes(dice.randrange(1, 300))),
        ("TLS", b"\x16\x03\x01\x00\xff\x01"),
    ])
    what, bytes_sent = cut
    client = await Client(run).connect("tls" if what == "TLS" else "plain")
    try:
        await client.send(bytes_sent)
        if dice.random() < 0.6:
            await asyncio.wait_for(client.reader.read(dice.choice([1, 5000])), dice.choice([0.005, 0.02, 0.2]))
    except (asyncio.TimeoutError, *GONE):
        pass
    finally:
        run.count(f"left in the middle of {what}")
        await client.leave(rudely=dice.random() < 0.5)


async def tunneller(run, dice):
    client = await Client(run).connect()
    try:
        await client.send(b"GET /tunnel HTTP/1.1\r\nHost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        status, _ = await client.head()
        run.count(f"tunnels: {status}")
        if status != 101:
            return
        for _ in range(dice.randrange(20)):
            sent = dice.randbytes(dice.choice([1, 1000, 20_000]))
            client.writer.write(sent)
            if await client.reader.readexactly(len(sent)) != sent:
                run.wonder("a tunnel changed what it carries")
            if run.stopping.is_set():
                return
    except GONE:
        run.count("tunnels that were cut off")
    finally:
        await client.leave(rudely=dice.random() < 0.5)


async def visitor(run, dice):
    """Connects to the listener that is added and removed."""
    client = Client(run)
    try:
        await client.connect("second")
        for _ in range(dice.randrange(1, 20)):
            await client.send(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
            _, fields = await client.head()
            await client.body(fields)
            run.count("answers by the second listener")
    except GONE:
        run.count("second listener was closed")
        await asyncio.sleep(0.05)
    finally:
        await client.leave(rudely=dice.random() < 0.5)


async def h2load(run, dice):
    """HTTP/2 from an independent client, sometimes killed."""
    name, scheme = dice.choice([("plain", "http"), ("tls", "https")])
    path = dice.choice(["/small", "/large", "/capped", "/chunks"])
    command = ["h2load", "-D", "1", "-c", "4", "-m", "8", f"{scheme}://localhost:{run.port[name]}{path}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        timeout = dice.choice([0.3, 0.7, 10])
        output, _ = await asyncio.wait_for(process.communicate(), timeout)
        if found := re.search(rb"status codes: (\d+) 2xx", output):
            run.done["HTTP/2 answers of status 2xx"] += int(found[1])
    except asyncio.TimeoutError:
        run.count("HTTP/2 clients that were killed")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# ---- a round -----------------------------------------------------------------------------------------------------------------


async def again_and_again(run, kind, dice, *more):
    while not run.stopping.is_set():
        try:
            await kind(run, dice, *more)
        except ConnectionError as fault:
            # A connect failed: a permanent listener never refuses.
            run.wonder(f"{kind.__name__}: {fault!r}")
        await asyncio.sleep(0)


async def killer(run, dice):
    turn = 0
    while not run.stopping.is_set():
        await stop_or(run, dice.uniform(0.3, 1.5))
        service = run.services[turn % 2]
        run.kills.append(time.monotonic())
        await service.kill()
        run.count("services killed")
        await stop_or(run, dice.uniform(0, 0.5))
        run.kills.append(time.monotonic())
        await service.start()
        turn += 1


async def reloader(run, dice):
    while not run.stopping.is_set():
        await stop_or(run, dice.uniform(0, 0.3))
        is_bad = dice.random() < 0.2
        await run.reload(run.broken_config(dice) if is_bad else run.config(dice))
        run.count("reloads of broken files" if is_bad else "reloads")


async def stop_or(run, seconds):
    try:
        await asyncio.wait_for(run.stopping.wait(), seconds)
    except asyncio.TimeoutError:
        pass


async def load(run, seconds):
    """Runs the same load in each round, up to races. Returns the time at which it began to end."""
    run.stopping = asyncio.Event()
    trusting = ssl.create_default_context(cafile=run.folder / "c.pem")
    kinds = [(getter, 6), (getter, 2, trusting), (poster, 3), (slow_reader, 4), (quitter, 8), (tunneller, 2), (visitor, 2)]
    kinds += [(h2load, 1)] if shutil.which("h2load") else []
    tasks = []
    for kind, count, *more in kinds:
        for at in range(count):
            dice = random.Random(f"{run.options.seed} {kind.__name__} {len(more)} {at}")
            tasks.append(asyncio.create_task(again_and_again(run, kind, dice, *more)))
    for kind in (killer, reloader):
        tasks.append(asyncio.create_task(kind(run, random.Random(f"{run.options.seed} {kind.__name__}"))))
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    run.stopping.set()
    ended = time.monotonic()
    await asyncio.gather(*tasks)
    return ended


async def settle(run, start, since):
    """Waits until everything is as at the start. Returns the final state and the time that this took."""
    stands = None

    async def is_as_before():
        nonlocal stands
        stands = run.stands(await run.metrics())
        return stands == start

    try:
        # First wait under the last configuration, since a reload of the first one would end many things at once.
        await at_rest(run)
        took = time.monotonic() - since
        await run.reload(run.config())
        await wait_until(is_as_before, "everything to end")
    except TimeoutError:
        took = time.monotonic() - since
        await is_as_before()
    return stands, took


async def warm_up(run):
    """Creates everything that is made once and stays, with one request to each listener."""
    trusting = ssl.create_default_context(cafile=run.folder / "c.pem")
    for name, tls in (("plain", None), ("tls", trusting)):
        client = await Client(run).connect(name, tls)
        await exchange(run, client, b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n", SMALL, "GET", REFUSALS)
        await client.leave(rudely=False)


async def at_rest(run):
    """Waits until nothing is in progress, and returns the state."""
    stands = None

    async def is_at_rest():
        nonlocal stands
        stands = run.stands(await run.metrics())
        return not any(stands[name] for name in GAUGES if name not in ("open files", "panics"))

    await wait_until(is_at_rest, "all requests and connections to end")
    return stands


async def soak(options):
    run = Run(options)
    try:
        for service in run.services:
            await service.start()
        await run.start_gateway()
        await run.reload(run.config())
        await warm_up(run)
        start = await at_rest(run)
        rounds = []
        for _ in range(options.rounds):
            ended = await load(run, options.minutes * 60 / options.rounds)
            stands, took = await settle(run, start, ended)
            rounds.append((stands, took, run.resident(), (await run.metrics())["series"]))
        told = (run.folder / "log").read_text(errors="replace")
        since = time.monotonic()
        run.gateway.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(run.gateway.wait, DEADLINE)
        return report(run, start, rounds, told, (status, time.monotonic() - since))
    finally:
        if run.gateway and run.gateway.poll() is None:
            run.gateway.kill()
            run.gateway.wait()
        for service in run.services:
            if service.process and service.process.returncode is None:
                await service.kill()
        shutil.rmtree(run.folder)


def report(run, start, rounds, told, ended):
    mistakes = []

    def row(name, *values, is_right=True, why=""):
        shown = "".join(f"{value:>16}" for value in values)
        print(f"{name:<28}{shown}   {'ok' if is_right else 'NOT AS AT THE START'} {why}".rstrip())
        if not is_right:
            mistakes.append(name)

    print("what happened")
    for name, count in sorted(run.done.items()):
        print(f"  {count:>9}  {name}")
    print("\nrefusals of the gateway's own, by reason")
    for name, count in sorted(run.most.items()):
        if name.startswith("refusals: "):
            print(f"  {count:>9.0f}  {name.removeprefix('refusals: ')}")
    print(f"\n{'':<28}{'most seen':>16}{'start':>16}" + "".join(f"{f'after round {1 + at}':>16}" for at in range(len(rounds))))
    for name, value in start.items():
        values = [stands[name] for stands, *_ in rounds]
        most = sum(run.most[family] for family in GAUGES.get(name, [])) or ""
        row(name, most and f"{most:.0f}", *(f"{one:.0f}" for one in (value, *values)), is_right=all(one == value for one in values))
    _, took, memory, series = zip(*rounds)
    megabytes = [f"{bytes / 1024 / 1024:.1f} MiB" for bytes in memory]
    is_judged = run.options.minutes * 60 / len(rounds) >= SHORTEST_FOR_MEMORY
    is_right = not is_judged or memory[-1] <= memory[0] + MEMORY_MARGIN
    allowed = f"(at most {MEMORY_MARGIN / 1024 / 1024:.0f} MiB above round 1)" if is_judged else "(rounds too short to tell)"
    row("resident memory", "", "", *megabytes, is_right=is_right, why=allowed)
    counts = (f"{count:.0f}" for count in series)
    row("series of metrics", "", "", *counts, is_right=series[-1] <= series[0] * 1.1, why="(at most a tenth more)")
    row("at rest after", "", "", *(f"{seconds:.1f} s" for seconds in took))
    blank = [""] * (1 + len(rounds))
    row("exit status", *blank, ended[0], is_right=ended[0] == 0, why=f"({ended[1]:.1f} s after SIGTERM)")
    row("panics in the log", *blank, told.count("panicked"), is_right="panicked" not in told)
    row("answers not explained", *blank, run.done["unexplained"], is_right=not run.unexplained)
    for what in run.unexplained:
        print(f"  {what}")
    print("\n" + (f"FAILED: {', '.join(mistakes)}" if mistakes else "nothing leaked"))
    return 1 if mistakes else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=3, help="of load, over both rounds")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target" / "release" / "tidegate")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--service", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.service:
        try:
            asyncio.run(service(options.service))
        except KeyboardInterrupt:
            pass
        return 0
    if not options.binary.exists():
        sys.exit(f"there is no {options.binary}: cargo build --release")
    return asyncio.run(soak(options))


if __name__ == "__main__":
    sys.exit(main())
