#!/usr/bin/env python3
"""tidegate beside NGINX, HAProxy and a bare TCP relay, on one core, in one run: a table of ratios.

    apt-get install -y nginx haproxy wrk
    python3 benches/side_by_side.py            # about three minutes; --rounds and --secs change that

Each proxy is pinned to core 0, wrk and the upstream (an NGINX that answers 130 bytes) to core 1. Rounds are interleaved,
so that a machine that changes its speed changes it for all. The figure is CPU time of the proxy's processes per answer;
ratios are taken within each round and their median is printed. Everything listens on loopback and ends with the run.

What each runs with. NGINX: two limit zones, a connection cap, retries, a buffered access log. HAProxy: a stick table,
retries, no log (it would need a syslog server). tidegate: two limits, cap, timeouts, retries, metrics, its access log.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUN = pathlib.Path(tempfile.mkdtemp(prefix="side-by-side-"))
RUN.chmod(0o755)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = {name: free_port() for name in ("upstream", "relay", "nginx", "haproxy", "tidegate")}

BODY = "0123456789" * 13

FILES = {
    "upstream.conf": f"""
worker_processes 1; daemon off; pid {RUN}/upstream.pid; error_log {RUN}/upstream.err;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  server {{ listen 127.0.0.1:{PORT['upstream']} backlog=4096;
    location / {{ default_type text/plain; return 200 "{BODY}"; }} }} }}
""",
    "nginx.conf": f"""
worker_processes 1; daemon off; pid {RUN}/nginx.pid; error_log {RUN}/nginx.err;
events {{ worker_connections 20000; }}
http {{ access_log {RUN}/nginx.access combined buffer=64k; keepalive_requests 100000000; keepalive_timeout 600s;
  limit_req_zone $binary_remote_addr zone=wide:10m rate=1000000r/s;
  limit_req_zone $binary_remote_addr zone=closed:10m rate=1r/m;
  limit_conn_zone $server_name zone=cap:1m;
  limit_req_status 429;
  upstream service {{ server 127.0.0.1:{PORT['upstream']}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{PORT['nginx']} backlog=4096;
    location /deny {{ limit_req zone=closed; proxy_pass http://service; }}
    location / {{ limit_req zone=wide burst=100000 nodelay; limit_conn cap 10000; proxy_pass http://service;
      proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_next_upstream error timeout http_502; proxy_read_timeout 30s; proxy_connect_timeout 2s; }} }} }}
""",
    "haproxy.cfg": f"""
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout client 60s
  timeout server 30s
  timeout connect 2s
  timeout http-keep-alive 600s
  timeout http-request 10s
  option forwardfor
  http-reuse always
  retries 3
  option redispatch
  retry-on conn-failure empty-response 502
backend wide
  stick-table type ip size 1m expire 10m store http_req_rate(1s)
backend closed
  stick-table type ip size 1m expire 10m store http_req_rate(10s)
frontend clients
  bind 127.0.0.1:{PORT['haproxy']} backlog 4096
  acl denied path_beg /deny
  http-request track-sc0 src table wide if !denied
  http-request track-sc1 src table closed if denied
  http-request deny deny_status 429 if denied {{ sc_http_req_rate(1) gt 1 }}
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000 }}
  default_backend service
backend service
  server one 127.0.0.1:{PORT['upstream']} maxconn 8000
""",
    "tidegate.toml": f"""
[server]
workers = 1
[[listeners]]
bind = "127.0.0.1:{PORT['tidegate']}"
[admin]
bind = "127.0.0.1:0"
[upstreams.service]
servers = ["http://127.0.0.1:{PORT['upstream']}"]
[limits.per-client]
key = "client-ip"
rate = "1000000/s"
[limits.everyone]
rate = "1000000/s"
[limits.closed]
key = "client-ip"
rate = "1/h"
[[routes]]
name = "open"
upstream = "service"
limits = ["per-client", "everyone"]
concurrency = {{ max = 10000, queue = 1000, queue_timeout = "1s" }}
timeouts = {{ total = "30s", attempt = "10s" }}
retry = {{ attempts = 2, on = ["connect", "reset", "502"] }}
[[routes]]
name = "closed"
upstream = "service"
limits = ["closed"]
match = {{ path_prefix = "/deny" }}
""",
}


def commands():
    target = ROOT / "target" / "release"
    return {
        "relay": [str(target / "examples" / "relay"), f"127.0.0.1:{PORT['relay']}", f"127.0.0.1:{PORT['upstream']}"],
        "nginx": ["nginx", "-c", str(RUN / "nginx.conf"), "-p", str(RUN)],
        "haproxy": ["haproxy", "-f", str(RUN / "haproxy.cfg")],
        "tidegate": [str(target / "tidegate"), "run", "--config", str(RUN / "tidegate.toml")],
    }


def start(command, core, name):
    log = open(RUN / f"{name}.log", "ab")
    return subprocess.Popen(["taskset", "-c", core, *command], stdout=log, stderr=log, start_new_session=True)


def wait_for(port):
    end = time.time() + 20
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}; see {RUN}")


def processes(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        found += [grandchild for child in children for grandchild in processes(int(child))]
    return found


def cpu_seconds(pid):
    """Of all threads, in nanoseconds: finer than the ticks of /proc/PID/stat."""
    total = 0
    for process in processes(pid):
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def in_ms(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def load(port, path, conns, secs):
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{conns}", f"-d{secs}s", "--latency"]
    out = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return {
        "answers": int(re.search(r"(\d+) requests in", out).group(1)),
        "refused": int(refused.group(1)) if refused else 0,
        "p99": in_ms(re.search(r"99%\s+(\S+)", out).group(1)),
    }


def measure(names, path, options, running):
    results = {name: [] for name in names}
    for name in names:
        load(PORT[name], path, options.conns, 1)
    for _ in range(options.rounds):
        for name in names:
            before = cpu_seconds(running[name].pid)
            result = load(PORT[name], path, options.conns, options.secs)
            result["cpu"] = (cpu_seconds(running[name].pid) - before) / result["answers"]
            results[name].append(result)
    return results


def table(title, results, base):
    print(f"\n{title}\n{'':10}{'CPU per answer, ' + base + ' = 1':>30}{'p99 (ms)':>10}{'refused':>9}")
    for name, rounds in results.items():
        ratio = statistics.median(mine["cpu"] / theirs["cpu"] for mine, theirs in zip(rounds, results[base]))
        p99 = statistics.median(result["p99"] for result in rounds)
        refused = sum(result["refused"] for result in rounds) / sum(result["answers"] for result in rounds)
        print(f"{name:10}{ratio:30.2f}{p99:10.2f}{refused:9.0%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--secs", type=int, default=3)
    parser.add_argument("--conns", type=int, default=64)
    options = parser.parse_args()
    missing = [program for program in ("nginx", "haproxy", "wrk", "taskset") if not shutil.which(program)]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (apt-get install -y nginx haproxy wrk util-linux)")
    subprocess.run(["cargo", "build", "--release", "--bin", "tidegate", "--example", "relay"], cwd=ROOT, check=True)
    for name, text in FILES.items():
        (RUN / name).write_text(text)
    running = {"upstream": start(["nginx", "-c", str(RUN / "upstream.conf"), "-p", str(RUN)], "1", "upstream")}
    try:
        wait_for(PORT["upstream"])
        for name, command in commands().items():
            running[name] = start(command, "0", name)
            wait_for(PORT[name])
        proxied = measure(["relay", "nginx", "haproxy", "tidegate"], "/", options, running)
        refused = measure(["nginx", "haproxy", "tidegate"], "/deny", options, running)
    finally:
        for process in running.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in running.values():
            process.wait(10)
    table("proxied", proxied, "relay")
    table("proxied, against NGINX", {name: proxied[name] for name in ("nginx", "tidegate")}, "nginx")
    table("refused", refused, "haproxy")
    shutil.rmtree(RUN, ignore_errors=True)


if __name__ == "__main__":
    main()
