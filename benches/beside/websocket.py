"""WebSocket messages in both directions through an upgraded connection."""

from . import loads
from .machine import LOADS, Fleet, free_port
from .proxies import Setup


def websocket(bench):
    """Messages of 64 bytes, one in flight on each connection, returned by the service."""
    with Fleet() as fleet:
        upstream = free_port()
        fleet.start("echo", [bench.programs["echo"], "serve", f"127.0.0.1:{upstream}"], LOADS, upstream)
        names = bench.names("relay", "nginx", "haproxy", "envoy", "tidegate")
        proxies = bench.proxies(fleet, names, Setup(upstream))
        load = lambda proxy, secs: loads.echo(bench.programs["echo"], proxy.port, bench.conns, secs)
        results = bench.measure(proxies, load)
    bench.table("websocket", results, "relay", "a message there and back")
