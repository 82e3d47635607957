"""Reloads of a large configuration, and their effect on the latency of requests."""

import statistics
import threading
import time
import urllib.request

from . import loads
from .machine import PROXIES, RUN, Fleet, free_port
from .memory import metric
from .proxies import Setup, start_with, tidegate
from .rounds import median, ratios

ROUTES = (10, 10_000)
# Requests a second, few enough that a request waits for nothing but a reload; seconds between two reloads.
RATE, PAUSE = 2000, 0.5


def reload(bench):
    """tidegate alone: without reloads and with continuous ones, with few routes and with many."""
    if not bench.names("tidegate"):
        return
    with Fleet() as fleet:
        upstream, _ = bench.upstream(fleet)
        gateways = {count: Gateway(bench, fleet, upstream, count) for count in ROUTES}
        results, alone = {}, {}
        for _ in range(bench.rounds):
            for count, gateway in gateways.items():
                with gateway.reloading() as reloads:
                    time.sleep(bench.secs)
                alone.setdefault(count, []).append(reloads.told())
                results.setdefault(f"{count} routes, quiet", []).append(gateway.ask(bench))
                with gateway.reloading() as reloads:
                    result = gateway.ask(bench)
                results.setdefault(f"{count} routes, reloading", []).append(result | reloads.told())
    bench.measured["reload"] = {"alone": alone, **results}
    base = f"{ROUTES[0]} routes, quiet"
    print(f"\nreload: {RATE} requests a second, a reload {PAUSE} s after the last; all of tidegate on one core")
    print(f"{'':26}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'CPU, first = 1':>22}"
          f"{'reloads':>9}{'metric ms':>11}{'POST ms':>9}")
    for name, rounds in results.items():
        line = f"{name:26}" + "".join(f"{median(rounds, key, 3):>9}" for key in ("p50", "p99", "max"))
        line += f"{ratios(rounds, results[base]):>22}{median(rounds, 'reloads', 0):>9}{median(rounds, 'metric'):>11}"
        print(line + f"{median(rounds, 'post'):>9}" + bench.verdict("reload", name, rounds))
    for count, rounds in alone.items():
        took = f"{median(rounds, 'metric')} ms by the metric, {median(rounds, 'post')} ms by the answer to POST /reload"
        print(f"{count} routes, reloading while nobody asks: {took}")


class Gateway:
    """A gateway with `count` routes that can be reloaded."""

    def __init__(self, bench, fleet, upstream, count):
        self.count, self.upstream, self.port, self.admin = count, upstream, free_port(), free_port()
        self.file, self.generation = RUN / f"reload-{count}.conf", 0
        self.change()
        command = start_with("tidegate", self.file, Setup(0), bench.programs)
        self.proxy = fleet.start("tidegate", command, PROXIES, self.port)

    def change(self):
        """Writes other numbers for a limit that every route names."""
        self.generation += 1
        more = f'[limits.all]\nrate = "1000000/s"\nburst = {1_000_000 + self.generation % 2}\n'
        for number in range(self.count):
            more += f'[[routes]]\nname = "r{number}"\nupstream = "service"\nlimits = ["all"]\n'
            more += f'match = {{ path_prefix = "/r{number}" }}\n'
        self.file.write_text(tidegate(Setup(self.upstream), self.port, self.admin, more))

    def ask(self, bench):
        before = self.proxy.cpu_seconds()
        path = f"/r{self.count - 1}/x"
        result = loads.steady(bench.programs["steady"], self.port, path, RATE, bench.conns, bench.secs)
        result["cpu"] = (self.proxy.cpu_seconds() - before) / max(1, result["answers"])
        self.proxy.forget_log()
        return result

    def reloading(self):
        return Reloads(self)


class Reloads:
    """A thread that changes the file and reloads it repeatedly until the `with` block ends."""

    def __init__(self, gateway):
        self.gateway, self.ended = gateway, threading.Event()
        self.posts, self.metrics, self.errors = [], [], []

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        try:
            while not self.ended.wait(PAUSE):
                self.gateway.change()
                url = f"http://127.0.0.1:{self.gateway.admin}/reload"
                began = time.monotonic()
                with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as answer:
                    answer.read()
                self.posts.append(1000 * (time.monotonic() - began))
                self.metrics.append(1000 * metric(self.gateway.admin, "tidegate_config_reload_duration_seconds"))
        except OSError as error:
            self.errors.append(str(error))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(60)

    def told(self):
        if self.errors or not self.posts:
            return {"failed": 1 + len(self.errors), "reloads": 0}
        post, metrics = statistics.median(self.posts), statistics.median(self.metrics)
        return {"reloads": len(self.posts), "post": post, "metric": metrics}
