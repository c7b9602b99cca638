"""Compare what things cost, in turns, so that a busy machine hits all alike: only ratios count."""

from __future__ import annotations

import ctypes
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

Seconds = dict[str, list[float]]
"""Of each round, by what was timed."""
Table = list[dict[str, object]]
"""Rows with the same columns."""


def keep_freed_memory() -> None:
    """Have glibc keep what is freed; elsewhere nothing is changed.

    Large arrays would otherwise go back to the system now and then, and to fault them in again
    takes several times as long as cross entropy: it would be measured instead of the losses.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no array has its own mapping
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD, bytes free at the end of the heap


def interleave(
    runs: dict[str, Callable[[], object]], *, rounds: int, warmup: int, device: str
) -> Seconds:
    """Time several things in turns, each of them first in some rounds.

    Args:
        runs: by name.
        rounds: measured, of each.
        warmup: rounds before those.
        device: ``cuda`` is waited for before the clock is started and before it is stopped.

    Returns:
        Seconds of each round, by name.
    """
    wait = torch.cuda.synchronize if device == "cuda" else torch.cpu.synchronize
    seconds: Seconds = {name: [] for name in runs}
    for number in range(warmup + rounds):
        names = list(runs)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            wait()
            started = time.perf_counter()
            runs[name]()
            wait()
            seconds[name].append(time.perf_counter() - started)
    return {name: every[warmup:] for name, every in seconds.items()}


def ratio(seconds: Seconds, name: str, baseline: str) -> float:
    """Of the medians."""
    return statistics.median(seconds[name]) / statistics.median(seconds[baseline])


def spread(seconds: Seconds, name: str, baseline: str) -> str:
    """First and third quartile of the ratios of each round."""
    pairs = zip(seconds[name], seconds[baseline], strict=True)
    ratios = sorted(one / other for one, other in pairs)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    return f"{low:.3f} .. {high:.3f}"


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """Most bytes that a run holds at a time, besides those that were held before."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [event for event in events if event["name"] == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def show(about: dict[str, object], tables: dict[str, Table], *, as_json: bool) -> None:
    """Print all as JSON, or as Markdown."""
    if as_json:
        print(json.dumps({"about": about, "tables": tables}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    for title, rows in tables.items():
        print(f"\n{title}\n")
        print(f"| {' | '.join(rows[0])} |")
        print(f"|{' --- |' * len(rows[0])}")
        for row in rows:
            cells = (f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values())
            print(f"| {' | '.join(map(str, cells))} |")
