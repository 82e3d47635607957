"""Long bodies in both directions over HTTP/1, which all proxies pass on as they come."""

from . import loads
from .machine import Fleet
from .proxies import ANSWERS, Setup

PEERS = ("relay", "nginx", "haproxy", "envoy", "tidegate")
SIZES = ("16k", "100k", "1m")


def answers(bench):
    """Responses of 16 KiB, 100 KiB and 1 MiB."""
    for size in SIZES:
        load = lambda proxy, secs: loads.wrk(proxy.port, f"/answer/{size}", bench.conns, secs)
        scenario(bench, f"answers {size}", load)


def uploads(bench):
    """Requests of 16 KiB, 100 KiB and 1 MiB; the service reads all of a request, and responds with 130 bytes."""
    for size in SIZES:
        load = lambda proxy, secs: loads.wrk(proxy.port, "/upload", bench.conns, secs, upload=ANSWERS[size])
        scenario(bench, f"uploads {size}", load)


def scenario(bench, title, load):
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, bench.names(*PEERS), Setup(upstream))
        results = bench.measure(proxies, load)
    bench.table(title, results, "nginx", "a request")
