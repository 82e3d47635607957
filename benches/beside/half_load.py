"""Latency at half the peak rate of the slowest proxy. Envoy, which would be the slowest, is left out."""

import statistics

from . import loads
from .machine import Fleet
from .proxies import Setup
from .rounds import median, ratios


def half_load(bench):
    """Percentiles of an open loop at a fixed rate, beside those of the service without a proxy."""
    names = bench.names("nginx", "haproxy", "tidegate")
    if not names:
        return
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        proxies = bench.proxies(fleet, names, Setup(upstream))
        peaks = {name: peak(bench, proxy) for name, proxy in proxies.items()}
        rate = min(peaks.values()) / 2
        told = ", ".join(f"{name} {reached:.0f}" for name, reached in peaks.items())
        print(f"\nhalf-load: peaks a second: {told}; asked at {rate:.0f} a second, {bench.conns} connections")
        load = lambda proxy, secs: loads.steady(bench.programs["steady"], proxy.port, "/", rate, bench.conns, secs)
        results = bench.measure(proxies, load)
        direct = [loads.steady(bench.programs["steady"], upstream, "/", rate, bench.conns, bench.secs)
                  for _ in range(bench.rounds)]
    bench.measured["half-load"] = {"direct": direct, **results}
    base = "nginx" if "nginx" in results else next(iter(results))
    print(f"{'':12}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'p99/p50':>9}{'p50, ' + base + ' = 1':>24}"
          f"{'p99, ' + base + ' = 1':>24}{'busy':>6}{'client late p99':>17}")
    for name, rounds in {"direct": direct, **results}.items():
        tail = statistics.median(result["p99"] / result["p50"] for result in rounds if result["p50"])
        line = f"{name:12}" + "".join(f"{median(rounds, key, 3):>9}" for key in ("p50", "p99", "max")) + f"{tail:9.1f}"
        line += "".join(f"{ratios(rounds, results[base], key):>24}" for key in ("p50", "p99"))
        busy = f"{statistics.median(result['busy'] for result in rounds):6.0%}" if name != "direct" else f"{'-':>6}"
        print(line + busy + f"{median(rounds, 'late_p99', 3):>17}" + bench.verdict("half-load", name, rounds))


def peak(bench, proxy):
    loads.wrk(proxy.port, "/", bench.conns, 1)
    rates = [loads.wrk(proxy.port, "/", bench.conns, bench.secs)["answers"] / bench.secs for _ in range(2)]
    proxy.forget_log()
    return max(rates)
