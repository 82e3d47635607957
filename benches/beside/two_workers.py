"""The cost of a second worker for a request, and its gain if there are enough cores."""

import os
import statistics

from . import loads
from .machine import PROXIES, Fleet
from .proxies import Setup
from .rounds import ratios

# From this number of cores on, two workers and the load do not share one.
ENOUGH = 4


def two_workers(bench):
    """Each proxy with one worker and with two, in the same rounds."""
    apart = (os.cpu_count() or 1) >= ENOUGH
    core, threads = ("2,3", 2) if apart else ("1", 1)
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        names, proxies = bench.names("nginx", "haproxy", "envoy", "tidegate"), {}
        for name in names:
            proxies[f"{name} 1"] = bench.proxy(fleet, name, Setup(upstream))
            both = Setup(upstream, workers=2, core=f"{PROXIES},1")
            proxies[f"{name} 2"] = bench.proxy(fleet, name, both)
        load = lambda proxy, secs: loads.wrk(proxy.port, "/", bench.conns, secs, core=core, threads=threads)
        results = bench.measure(proxies, load)
    bench.measured["two-workers"] = results
    print(f"\ntwo-workers: CPU of a request with two workers, with one = 1; {bench.rounds} rounds [least, most]")
    if not apart:
        print("  Too few cores: the second worker shares one with the load and the service, so that its throughput says")
        print(f"  nothing about the proxy and is not told. With {ENOUGH} cores it is.")
    for name in names:
        one, two = results[f"{name} 1"], results[f"{name} 2"]
        line = f"{name:12}{ratios(two, one):>22}  of CPU a request"
        if apart:
            line += f"{ratios(two, one, 'answers'):>22}  of throughput"
        else:
            line += f"   (busy: {busy(one)} with one, {busy(two)} with two)"
        print(line + bench.verdict("two-workers", f"{name} 1", one) + bench.verdict("two-workers", f"{name} 2", two))


def busy(rounds):
    return f"{statistics.median(result['busy'] for result in rounds):.0%}"
