"""The proxies and their configurations. One `Setup` becomes a configuration with the same meaning for each proxy.

All of them: two limits that pass everything, one on /deny that refuses all but the first, /own answered without an upstream,
a cap, retries, timeouts, upgrades on /ws. NGINX logs to a buffered file, tidegate to a file; HAProxy has no log (it would
need a syslog server) and Envoy none, which is in their favour. All pass bodies on as they come and keep no more of them than
their buffers hold: NGINX, which would first read a request to its end, and write long ones to the disk, is told not to.
"""

import json
from dataclasses import dataclass

from .machine import LOADS, PROXIES, RUN, free_port

BODY = "0123456789" * 13
KIB = 1024
# Length of the response to /answer/NAME. That to /answer/1k has as few header lines as those of 130 bytes.
ANSWERS = {"16k": 16 * KIB, "100k": 100 * KIB, "1m": 1024 * KIB, "16m": 16 * 1024 * KIB}
# Header lines of a browser, without Host.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8",
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; _ga=GA1.2.1234567890.1700000000; consent=yes",
    "Referer: https://shop.example.com/orders",
    'Sec-Ch-Ua: "Chromium";v="142", "Not_A Brand";v="99"',
    "Sec-Ch-Ua-Mobile: ?0",
    'Sec-Ch-Ua-Platform: "Linux"',
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Upgrade-Insecure-Requests: 1",
)
CERTIFICATE, KEY, BOTH = RUN / "site.pem", RUN / "site.key", RUN / "both.pem"


@dataclass(frozen=True)
class Setup:
    upstream: int
    tls: bool = False
    http2: bool = False  # for clients with prior knowledge
    upstream_http2: bool = False
    access_lines: bool = True
    traces: str = ""  # the share of the requests that tidegate records
    workers: int = 1
    core: str = PROXIES


def start_upstream(fleet, programs):
    """Starts an NGINX that serves HTTP/1 on the first returned port and HTTP/2 on the second."""
    http1, http2 = free_port(), free_port()
    (RUN / "upstream.conf").write_text(upstream_nginx(http1, http2))
    fleet.start("upstream", [programs["nginx"], "-c", RUN / "upstream.conf", "-p", RUN], LOADS, http1)
    return http1, http2


def upstream_nginx(http1, http2):
    """Responds with 130 bytes on any path and with a body of its length on /answer/NAME; reads all of an /upload first."""
    answers = RUN / "answer"
    answers.mkdir(exist_ok=True)
    for name, length in ANSWERS.items():
        (answers / name).write_bytes(bytes(range(256)) * (length // 256))
        (answers / name).chmod(0o644)
    return f"""
worker_processes 1; daemon off; pid {RUN}/upstream.pid; error_log {RUN}/upstream.err;
events {{ worker_connections 9000; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on;
  client_max_body_size 2m; client_body_buffer_size 2m;
  client_body_temp_path {RUN}/up-body; proxy_temp_path {RUN}/up-proxy; fastcgi_temp_path {RUN}/up-fcgi;
  uwsgi_temp_path {RUN}/up-uwsgi; scgi_temp_path {RUN}/up-scgi;
  upstream itself {{ server 127.0.0.1:{http1}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{http1} backlog=4096; listen 127.0.0.1:{http2} http2 backlog=4096;
    location = /answer/1k {{ default_type text/plain; return 200 "{'k' * KIB}"; }}
    location /answer/ {{ default_type application/octet-stream; root {RUN}; }}
    location /upload {{ proxy_pass http://itself/; proxy_pass_request_body off; proxy_set_header Content-Length "";
      proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location / {{ default_type text/plain; return 200 "{BODY}"; }} }} }}
"""


def nginx(setup, port):
    log = f"{RUN}/nginx-{port}.access combined buffer=64k" if setup.access_lines else "off"
    listen = f"127.0.0.1:{port} backlog=4096" + (" ssl" if setup.tls else "") + (" http2" if setup.http2 else "")
    tls = f"ssl_certificate {CERTIFICATE}; ssl_certificate_key {KEY}; ssl_protocols TLSv1.3;" if setup.tls else ""
    return f"""
worker_processes {setup.workers}; daemon off; pid {RUN}/nginx-{port}.pid; error_log {RUN}/nginx-{port}.err;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; }}
http {{ access_log {log}; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path {RUN}/body; proxy_temp_path {RUN}/proxy; fastcgi_temp_path {RUN}/fcgi;
  uwsgi_temp_path {RUN}/uwsgi; scgi_temp_path {RUN}/scgi;
  limit_req_zone $binary_remote_addr zone=wide:10m rate=1000000r/s;
  limit_req_zone $binary_remote_addr zone=closed:10m rate=1r/m;
  limit_conn_zone $server_name zone=cap:1m;
  limit_req_status 429;
  upstream service {{ server 127.0.0.1:{setup.upstream}; keepalive 256; keepalive_requests 100000000; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Host $host;
  proxy_next_upstream error timeout http_502; proxy_read_timeout 30s; proxy_connect_timeout 2s;
  proxy_max_temp_file_size 0; proxy_request_buffering off; client_max_body_size 2m;
  server {{ listen {listen}; {tls}
    location /deny {{ limit_req zone=closed; proxy_pass http://service; }}
    location = /own {{ default_type text/plain; return 200 "ok"; }}
    location /ws {{ limit_req zone=wide burst=100000 nodelay; limit_conn cap 10000; proxy_pass http://service;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_read_timeout 1h; }}
    location / {{ limit_req zone=wide burst=100000 nodelay; limit_conn cap 10000; proxy_pass http://service; }} }} }}
"""


def haproxy(setup, port):
    bind = f"127.0.0.1:{port} backlog 4096" + (" proto h2" if setup.http2 else "")
    bind += f" ssl crt {BOTH} ssl-min-ver TLSv1.3" if setup.tls else ""
    return f"""
global
  nbthread {setup.workers}
  maxconn 9950
defaults
  mode http
  timeout client 60s
  timeout server 30s
  timeout connect 2s
  timeout tunnel 1h
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
  bind {bind}
  acl denied path_beg /deny
  http-request return status 200 content-type text/plain string "ok" if {{ path /own }}
  http-request track-sc0 src table wide if !denied
  http-request track-sc1 src table closed if denied
  http-request deny deny_status 429 if denied {{ sc_http_req_rate(1) gt 1 }}
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000 }}
  default_backend service
backend service
  server one 127.0.0.1:{setup.upstream} maxconn 8000{" proto h2" if setup.upstream_http2 else ""}
"""


def tidegate(setup, port, admin=None, more=""):
    tls = f'[listeners.tls]\ncertificates = [{{ cert = "{CERTIFICATE}", key = "{KEY}" }}]\n' if setup.tls else ""
    protocol = 'protocol = "http2"' if setup.upstream_http2 else ""
    collector = f"http://127.0.0.1:{setup.upstream}"
    traces = f'[traces]\notlp = "{collector}"\nsample = "{setup.traces}"' if setup.traces else ""
    return f"""
{traces}
[server]
workers = {setup.workers}
max_connections_per_client = 20000
[[listeners]]
bind = "127.0.0.1:{port}"
timeouts = {{ keep_alive = "600s" }}
{tls}
[admin]
bind = "127.0.0.1:{admin or free_port()}"
[log]
access = {str(setup.access_lines).lower()}
[upstreams.service]
servers = ["http://127.0.0.1:{setup.upstream}"]
{protocol}
pool = {{ max_connections = 8000, max_idle = 256 }}
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
[[routes]]
name = "own"
respond = {{ status = 200, body = "ok" }}
match = {{ path = "/own" }}
{more}
"""


TYPE = "type.googleapis.com/envoy.extensions"


def envoy(setup, port):
    """JSON, which is also YAML. The limit covers all clients together: one by address would need a rate limit service."""

    def limit(name, tokens, each):
        share = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        return {"envoy.filters.http.local_ratelimit": {
            "@type": f"{TYPE}.filters.http.local_ratelimit.v3.LocalRateLimit", "stat_prefix": name,
            "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": each},
            "filter_enabled": share, "filter_enforced": share}}

    retries = {"retry_on": "connect-failure,reset", "num_retries": 2}
    own = {"status": 200, "body": {"inline_string": "ok"}}
    routes = [
        {"match": {"path": "/own"}, "direct_response": own},
        {"match": {"prefix": "/deny"}, "route": {"cluster": "service", "timeout": "30s"},
         "typed_per_filter_config": limit("closed", 1, "60s")},
        {"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "30s", "retry_policy": retries},
         "typed_per_filter_config": limit("wide", 1000000, "1s")},
    ]
    filters = [
        {"name": "envoy.filters.http.local_ratelimit", "typed_config": {
            "@type": f"{TYPE}.filters.http.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "limits"}},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}},
    ]
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients", "use_remote_address": True, "delayed_close_timeout": "0s", "http_filters": filters,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if setup.tls:
        certificate = {"certificate_chain": {"filename": str(CERTIFICATE)}, "private_key": {"filename": str(KEY)}}
        context = {"tls_certificates": [certificate], "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}}
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": context}}
    cap = {"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}
    cluster = {
        "name": "service", "connect_timeout": "2s", "type": "STATIC", "circuit_breakers": {"thresholds": [cap]},
        "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address(setup.upstream)}}]}]},
    }
    if setup.upstream_http2:
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    listener = {"name": "clients", "address": address(port), "filter_chains": [chain]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def command(name, setup, port, programs):
    """Writes the configuration and returns the command that starts the proxy with it."""
    if name == "relay":
        return [programs["relay"], f"127.0.0.1:{port}", f"127.0.0.1:{setup.upstream}"]
    write = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "tidegate": tidegate}[name]
    file = RUN / f"{name}-{port}.{'json' if name == 'envoy' else 'conf'}"
    file.write_text(write(setup, port))
    return start_with(name, file, setup, programs)


def start_with(name, file, setup, programs):
    program = programs[name]
    return {
        "nginx": [program, "-c", file, "-p", RUN],
        "haproxy": [program, "-f", file],
        "envoy": [program, "-c", file, "--concurrency", setup.workers, "-l", "error", "--disable-hot-restart"],
        "tidegate": [program, "run", "--config", file],
    }[name]
