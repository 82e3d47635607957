#!/usr/bin/env python3
"""What a flood of made-up tokens costs the others: latencies of known and of new tokens beside one, and without one.

    apt-get install -y wrk python3-cryptography && pip install pyjwt
    cargo build --release && python3 benches/tokens.py      # about a minute; --secs changes that

Three kinds of requests are measured, each on connections of its own: with a token that is known, with a token that is new
each time, and none at all. The flood comes from --addresses addresses of 127.0.0.0/8. Its tokens have a header and claims
that are right, and a signature that is not, so that each of them has to be checked. Rounds with and without the flood
take turns; medians of the rounds are printed, in milliseconds. A machine with few cores measures the load as well: the
flood and the clients take their share of it, and the row "none" shows how much.
"""

import argparse
import base64
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from loopback import free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUN = pathlib.Path(tempfile.mkdtemp(prefix="tokens-"))


def claims(name):
    return {"sub": name, "aud": "orders", "iss": "bench", "exp": int(time.time()) + 3600}


def request(path, token):
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def answer(stream):
    """The status of the next response, whose body has a content-length."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = stream.recv(65536)
        if not piece:
            raise OSError("closed")
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        body += stream.recv(65536)
    return int(head[9:12])


def flood(port, address, path, token, until, sent):
    """Sends made-up tokens, 16 at a time, from one address, until the end."""
    head, body, _ = token.split(".")
    size = len(base64.urlsafe_b64decode(token.split(".")[2] + "=="))
    stream = socket.socket()
    stream.bind((address, 0))
    stream.connect(("127.0.0.1", port))
    count = 0
    while not until.is_set():
        made = []
        for _ in range(16):
            signature = base64.urlsafe_b64encode(os.urandom(size)).rstrip(b"=").decode()
            made.append(request(path, f"{head}.{body}.{signature}"))
        stream.sendall(b"".join(made))
        got = 0
        while got < 16:
            got += stream.recv(1 << 20).count(b"HTTP/1.1 ")
        count += 16
    with sent.get_lock():
        sent.value += count


def measure(port, path, tokens, secs, lats, statuses):
    """Asks with each of the tokens, one after the other, and notes the time of each answer."""
    stream = socket.create_connection(("127.0.0.1", port))
    end = time.monotonic() + secs
    for token in tokens:
        begun = time.monotonic()
        if begun > end:
            break
        stream.sendall(request(path, token))
        statuses.append(answer(stream))
        lats.append(time.monotonic() - begun)
        time.sleep(0.002)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidegate", default=str(ROOT / "target/release/tidegate"))
    parser.add_argument("--secs", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--addresses", type=int, default=8)
    parser.add_argument("--algorithm", default="ES256", choices=["ES256", "RS256"])
    options = parser.parse_args()

    key, kind = (
        (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm)
        if options.algorithm == "ES256"
        else (rsa.generate_private_key(public_exponent=65537, key_size=2048), RSAAlgorithm)
    )
    jwk = {**json.loads(kind.to_jwk(key.public_key())), "kid": "k"}
    (RUN / "keys").write_text(json.dumps({"keys": [jwk]}))
    port = free_port()
    (RUN / "tidegate.toml").write_text(
        f"""[[listeners]]
bind = "127.0.0.1:{port}"
[admin]
bind = "off"
[log]
access = false
[identities.users.jwt]
keys = "{RUN}/keys"
issuer = "bench"
audience = "orders"
[[routes]]
name = "open"
respond = {{ status = 200, body = "hello" }}
[[routes]]
name = "users"
match = {{ path = "/users" }}
identify = ["users"]
respond = {{ status = 200, body = "hello" }}
"""
    )

    def sign(name):
        return jwt.encode(claims(name), key, algorithm=options.algorithm, headers={"kid": "k"})

    gateway = subprocess.Popen([options.tidegate, "run", "--config", str(RUN / "tidegate.toml")])
    try:
        wait_for(port)
        new = (sign(f"new {number}") for number in range(10**9))
        known = sign("known")
        rows = {}
        for _ in range(options.rounds):
            for with_flood in (False, True):
                until, sent = multiprocessing.Event(), multiprocessing.Value("q", 0)
                flooding = [
                    multiprocessing.Process(
                        target=flood, args=(port, f"127.0.1.{number + 1}", "/users", known, until, sent)
                    )
                    for number in range(options.addresses if with_flood else 0)
                ]
                for process in flooding:
                    process.start()
                ready = [next(new) for _ in range(int(options.secs * 400))]
                jobs, found = [], {}
                for name, path, tokens in (
                    ("none", "/", [known] * len(ready)),
                    ("known", "/users", [known] * len(ready)),
                    ("new", "/users", ready),
                ):
                    found[name] = ([], [])
                    jobs.append(threading.Thread(target=measure, args=(port, path, tokens, options.secs, *found[name])))
                for job in jobs:
                    job.start()
                for job in jobs:
                    job.join()
                until.set()
                for process in flooding:
                    process.join()
                for name, (lats, statuses) in found.items():
                    quantiles = statistics.quantiles(lats, n=100)
                    refused = sum(status != 200 for status in statuses)
                    rows.setdefault((name, with_flood), []).append((quantiles[49], quantiles[98], refused, sent.value / options.secs))
        print("token   flood/s   p50 ms   p99 ms   refused")
        for (name, _), rounds in sorted(rows.items()):
            p50, p99, refused, rate = (statistics.median(values) for values in zip(*rounds))
            print(f"{name:6} {rate:8.0f} {p50 * 1000:8.2f} {p99 * 1000:8.2f} {refused:9.0f}")
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(30)


main()
