"""HTTP/1 and HTTP/2 without TLS: the cost of forwarding a request, and of refusing one."""

from . import loads
from .machine import Fleet
from .proxies import BROWSER, Setup

# With HTTP/2, as many requests are in flight as with HTTP/1 on separate connections.
CONNECTIONS = 8


def http1(bench):
    """Requests forwarded to a service that responds with 130 bytes, on keep-alive connections."""
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, bench.names("relay", "nginx", "haproxy", "envoy", "tidegate"), Setup(upstream))
        results = bench.measure(proxies, lambda proxy, secs: loads.wrk(proxy.port, "/", bench.conns, secs))
    bench.table("http1", results, "relay", "a request passed on")


def browser(bench):
    """Requests with the 13 header lines of a browser, forwarded to a service that responds with 1 KiB."""
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, bench.names("relay", "nginx", "haproxy", "envoy", "tidegate"), Setup(upstream))
        load = lambda proxy, secs: loads.wrk(proxy.port, "/answer/1k", bench.conns, secs, headers=BROWSER)
        results = bench.measure(proxies, load)
    bench.table("browser", results, "relay", "a request passed on")


def refused(bench):
    """Requests refused by a limit with 429."""
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, bench.names("nginx", "haproxy", "envoy", "tidegate"), Setup(upstream))
        load = lambda proxy, secs: loads.wrk(proxy.port, "/deny", bench.conns, secs, refused=True)
        results = bench.measure(proxies, load)
    bench.table("refused", results, "haproxy", "a request refused")


def h2_h1(bench):
    """HTTP/2 from clients, with prior knowledge; HTTP/1 to the service."""
    http2(bench, "h2-h1", ("nginx", "haproxy", "envoy", "tidegate"), "nginx", False)


def h2_h2(bench):
    """HTTP/2 on both sides. NGINX 1.22 supports it towards services for gRPC only, and is left out."""
    http2(bench, "h2-h2", ("haproxy", "envoy", "tidegate"), "haproxy", True)


def http2(bench, title, able, base, both):
    with Fleet() as fleet:
        upstreams = bench.upstream(fleet)
        setup = Setup(upstreams[both], http2=True, upstream_http2=both)
        proxies = bench.proxies(fleet, bench.names(*able), setup)
        streams = max(1, bench.conns // CONNECTIONS)
        load = lambda proxy, secs: loads.h2load(proxy.port, "/", CONNECTIONS, streams, secs)
        results = bench.measure(proxies, load)
    bench.table(title, results, base, f"a request, {CONNECTIONS} connections with {streams} streams each")
