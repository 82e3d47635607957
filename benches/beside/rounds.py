"""Interleaved rounds and their tables: every proxy in every round, ratios within a round, medians over rounds."""

import json
import os
import statistics
import time

from .machine import free_port
from .proxies import Setup, command, start_upstream

ORDER = ("relay", "nginx", "haproxy", "envoy", "tidegate")


class Bench:
    """The options of a run, the programs found, and the measurements so far."""

    def __init__(self, options, programs):
        self.rounds, self.secs, self.conns = options.rounds, options.secs, options.conns
        self.only, self.programs, self.file_limit = options.only, programs, options.file_limit
        self.measured, self.void = {}, []

    def names(self, *able):
        """The proxies among `able` that are selected and can be started; prints the missing ones."""
        wanted = [name for name in ORDER if name in able and (not self.only or name in self.only)]
        missing = [name for name in wanted if not self.programs.get(name)]
        if missing:
            print(f"  (left out, as its program was not found: {', '.join(missing)})")
        return [name for name in wanted if name not in missing]

    def upstream(self, fleet):
        """Starts the service; its first port speaks HTTP/1, its second HTTP/2."""
        return start_upstream(fleet, self.programs)

    def proxy(self, fleet, name, setup: Setup):
        port = free_port()
        return fleet.start(name, command(name, setup, port, self.programs), setup.core, port)

    def proxies(self, fleet, names, setup):
        return {name: self.proxy(fleet, name, setup) for name in names}

    def measure(self, proxies, load, unit="answers"):
        """Runs `load(proxy, seconds)` for each in turn, after a warm-up of a second, and adds the CPU time per unit."""
        results = {name: [] for name in proxies}
        for proxy in proxies.values():
            load(proxy, 1)
        for _ in range(self.rounds):
            for name, proxy in proxies.items():
                before, began = proxy.cpu_seconds(), time.monotonic()
                result = load(proxy, self.secs)
                used, took = proxy.cpu_seconds() - before, time.monotonic() - began
                result["cpu"], result["busy"] = used / max(1, result[unit]), used / took
                results[name].append(result)
                proxy.forget_log()
        return results

    def table(self, title, results, base, what="an answer", scale=1e6, unit="us"):
        """Prints the table; `scale` and `unit` apply to the CPU time."""
        self.measured[title] = results
        if not results:
            return
        base = base if base in results else next(iter(results))
        print(f"\n{title}: CPU of {what}; medians of {self.rounds} rounds, ratios within rounds [least, most]")
        head = f"{'CPU ' + unit:>10}{'a core s':>11}{base + ' = 1':>22}{'tidegate / it':>22}"
        print(f"{'':12}{head}{'busy':>6}{'p50 ms':>9}{'p99 ms':>9}")
        for name, rounds in results.items():
            cpu = statistics.median(result["cpu"] for result in rounds)
            line = f"{name:12}{cpu * scale:10.2f}{1 / cpu if cpu else 0:11.1f}"
            line += f"{ratios(rounds, results[base]):>22}{ratios(results.get('tidegate'), rounds):>22}"
            line += f"{statistics.median(result['busy'] for result in rounds):6.0%}"
            line += "".join(f"{median(rounds, key):>9}" for key in ("p50", "p99"))
            print(line + self.verdict(title, name, rounds))

    def verdict(self, title, name, rounds):
        """The reason why the figures of this line mean nothing, or an empty text."""
        failed, answers = (sum(result[key] for result in rounds) for key in ("failed", "answers"))
        if failed == 0 and all(result["answers"] for result in rounds):
            return ""
        self.void.append(f"{title}: {name}")
        return f"  VOID: {failed} failed, {answers} answered"

    def write(self, file):
        with open(file, "w") as to:
            json.dump({"machine": machine(), "rounds": self.rounds, "secs": self.secs, "measured": self.measured}, to)


def ratios(mine, theirs, key="cpu"):
    """The median of the ratios of all rounds, with the extremes."""
    if not mine or not theirs:
        return "-"
    each = [a[key] / b[key] for a, b in zip(mine, theirs) if b[key]]
    if not each:
        return "-"
    return f"{statistics.median(each):.2f} [{min(each):.2f}, {max(each):.2f}]"


def median(rounds, key, digits=2):
    values = [result[key] for result in rounds if key in result]
    return f"{statistics.median(values):.{digits}f}" if values else "-"


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"

