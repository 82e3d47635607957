"""The tail of latency at 30 % of the peak rate of the slowest proxy. Envoy, which would be the slowest, is left out.

A process that takes a core for a few milliseconds is most of a tail. `chrt --rr 1`, which needs root, keeps all but the
processes of this run off: on a machine with a build on each core, the 99th percentile of the service without a proxy was
0.3 ms with it and 190 ms without. `TMPDIR=/dev/shm` keeps the access lines, and with them the disk, out of it.
"""

import statistics

from . import loads
from .machine import Fleet
from .proxies import Setup
from .rounds import median, ratios

SHARE = 0.3
PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
# HAProxy would need a syslog server to write access lines.
KINDS = {"lines": ("nginx", "tidegate"), "no lines": ("nginx", "haproxy", "tidegate")}


def tail(bench):
    """Percentiles of an open loop at a fixed rate, with access lines and without; take --secs 10, and see chrt above."""
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        # The floor: the service without a proxy.
        targets = {"direct": fleet.started[0]}
        for kind, able in KINDS.items():
            setup = Setup(upstream, access_lines=kind == "lines")
            targets |= {f"{name}, {kind}": bench.proxy(fleet, name, setup) for name in bench.names(*able)}
        peaks = {name: peak(bench, target) for name, target in targets.items()}
        rate = min(peaks.values()) * SHARE
        told = "; ".join(f"{name} {reached:.0f}" for name, reached in peaks.items())
        print(f"\ntail: peaks a second: {told}; asked at {rate:.0f} a second, {bench.conns} connections")
        load = lambda target, secs: loads.steady(bench.programs["steady"], target.port, "/", rate, bench.conns, secs)
        results = bench.measure(targets, load)
    table(bench, results)


def peak(bench, target):
    loads.wrk(target.port, "/", bench.conns, 1)
    rates = [loads.wrk(target.port, "/", bench.conns, 2)["answers"] / 2 for _ in range(2)]
    target.forget_log()
    return max(rates)


def table(bench, results):
    """Latencies are medians over rounds; ratios are taken within rounds, to NGINX of the same kind."""
    bench.measured["tail"] = results
    head = "".join(f"{name + ' ms':>10}" for name in (*PERCENTILES.values(), "max"))
    head += "".join(f"{name + ', nginx = 1':>24}" for name in PERCENTILES.values())
    print(f"{'':20}{head}{'busy':>6}{'client late p99':>17}")
    for name, rounds in results.items():
        beside = results.get(f"nginx, {name.partition(', ')[2]}")
        line = f"{name:20}" + "".join(f"{median(rounds, key, 3):>10}" for key in (*PERCENTILES, "max"))
        line += "".join(f"{ratios(rounds, beside, key):>24}" for key in PERCENTILES)
        line += f"{statistics.median(result['busy'] for result in rounds):6.0%}{median(rounds, 'late_p99', 3):>17}"
        print(line + bench.verdict("tail", name, rounds))
