"""The tables of `training.py`: what is raced, and what is made of the seconds."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# From this folder, where a script finds its neighbours.
import training_memory
import training_steps as steps
from convolutions import FORMULATIONS, training_flops
from race import processes, race
from training_data import cut
from training_steps import CUTTING, MM, OURS, PLAIN, PRODUCTS
from turns import Seconds, Table, peak_bytes

from protein_robust.datasets import Parts

AIMS = {
    "cpu": {"speed": "at least 4", "convolutions": "at least 0.6", "cutting": "at most 0.03"},
    "cuda": {"speed": "at least 8", "product": "at least 0.35"},
}
"""Of the project: for the presets quick-start and width256 on a CPU, for paper on a GPU."""


def make_tables(options: Namespace, field: steps.Field) -> dict[str, Table]:
    """Measure the parts that are asked for."""
    tables: dict[str, Table] = {}
    num_sequences = len(field.examples.labels)
    if raced := race_steps(options, field):
        tables[f"training, {num_sequences:,} sequences a pass"] = raced.table()
        if ratios := ratio_table(raced, AIMS[options.device]):
            tables["ratios"] = ratios
    if "inference" in options.part:
        title = f"inference, {num_sequences:,} sequences a pass"
        tables[title] = race_inference(options, field).table()
    if "memory" in options.part:
        tables["memory"] = facts(memory_facts(options, field))
    return tables


def facts(found: Mapping[str, object]) -> Table:
    """A table of two columns."""
    return [{"what": name, "value": value} for name, value in found.items()]


@dataclass(frozen=True)
class Raced:
    """Seconds of passes over the same sequences, and what was done in them.

    Attributes:
        seconds: of each pass, by contestant.
        num_sequences: of a pass.
        num_residues: of a pass, without padding.
        num_positions: of a pass of ours, with padding; the mean over the passes.
        flops: of a pass, padding included, of those that compute convolutions or products.
    """

    seconds: Seconds
    num_sequences: int
    num_residues: int
    num_positions: float
    flops: Mapping[str, float]

    def table(self) -> Table:
        """A row for each contestant."""
        return [self._row(name) for name in self.seconds]

    def ratio(self, over: str, under: str, *, factor: float = 1.0) -> dict[str, object]:
        """Seconds of one over those of another: of the medians, and of the single rounds."""
        pairs = zip(self.seconds[over], self.seconds[under], strict=True)
        each = [factor * one / other for one, other in pairs]
        medians = (statistics.median(self.seconds[name]) for name in (over, under))
        return {
            "ratio": factor * next(medians) / next(medians),
            "min .. max": f"{min(each):.3f} .. {max(each):.3f}",
        }

    def fastest(self, names: tuple[str, ...]) -> str:
        """The one of the smallest median."""
        return min(names, key=lambda name: statistics.median(self.seconds[name]))

    def _row(self, name: str) -> dict[str, object]:
        seconds = self.seconds[name]
        median = statistics.median(seconds)
        is_product = name in PRODUCTS
        return {
            "what": name,
            "seconds": median,
            "min .. max": f"{min(seconds):.3f} .. {max(seconds):.3f}",
            "sequences/s": "-" if is_product else f"{self.num_sequences / median:,.1f}",
            "residues/s": "-" if is_product else f"{self.num_residues / median:,.0f}",
            "GFLOP/s": f"{self.flops[name] / median / 1e9:.1f}" if name in self.flops else "-",
        }


def race_steps(options: Namespace, field: steps.Field) -> Raced | None:
    """Time training and its parts; None if no part of it is asked for."""
    parts = {
        "reference": (PLAIN,),
        "ours": (OURS,),
        "assembly": (CUTTING,),
        "convolutions": (*FORMULATIONS, *PRODUCTS),
    }
    names = [name for part, several in parts.items() if part in options.part for name in several]
    if not names:
        return None
    seconds = time_all(names, options)
    passes = range(options.warmup, options.warmup + options.rounds)
    shapes = [shape for number in passes for shape in field.shapes(number)]
    num_positions = sum(size * length for size, length in shapes) / len(passes)
    num_sequences, num_classes = len(field.examples.labels), field.examples.num_classes
    flops = dict.fromkeys(FORMULATIONS, training_flops(field.config, num_positions))
    flops |= dict.fromkeys(PRODUCTS, float(steps.matrix_product(field).flops))
    head = 3 * 2 * field.config.width * num_classes * num_sequences
    flops[OURS] = training_flops(field.config, num_positions) + head
    return Raced(seconds, num_sequences, field.num_residues, num_positions, flops)


def race_inference(options: Namespace, field: steps.Field) -> Raced:
    """Time forward passes, and the way from a file to predictions."""
    seconds = time_all(steps.INFERENCE, options)
    return Raced(seconds, len(field.examples.labels), field.num_residues, 0, {})


def time_all(names: Iterable[str], options: Namespace) -> Seconds:
    """Seconds of each measured pass, by contestant."""
    with processes(names, steps.build, options) as runners:
        return race(runners, rounds=options.rounds, warmup=options.warmup)


def ratio_table(raced: Raced, aims: Mapping[str, str]) -> Table:
    """What the seconds say of our step; each row needs the parts that it names."""
    table: Table = []

    def add(what: str, ratio: dict[str, object], aim: str) -> None:
        table.append({"what": what, **ratio, "aim": aims.get(aim, "-")})

    if {PLAIN, OURS} <= set(raced.seconds):
        add("sequences/s, ours / plain", raced.ratio(PLAIN, OURS), "speed")
    if {CUTTING, OURS} <= set(raced.seconds):
        add("seconds, planning and cutting / our step", raced.ratio(CUTTING, OURS), "cutting")
    if {MM, OURS} <= set(raced.seconds):
        for names, aim in ((tuple(FORMULATIONS), "convolutions"), (PRODUCTS, "product")):
            best = raced.fastest(names)
            factor = raced.flops[OURS] / raced.flops[best]
            title = f"FLOP/s, ours / {best}"
            add(title, raced.ratio(best, OURS, factor=factor), aim)
            factor *= raced.num_residues / raced.num_positions
            add(f"{title}, residues alone", raced.ratio(best, OURS, factor=factor), "")
    return table


def batch_facts(field: steps.Field) -> dict[str, object]:
    """Count the batches of one pass."""
    shapes = field.shapes(0)
    num_positions = sum(size * length for size, length in shapes)
    return {
        "sequences": sum(size for size, _ in shapes),
        "batches": len(shapes),
        "shapes": len(set(shapes)),
        "padding / positions": 1 - field.num_residues / num_positions,
    }


def memory_facts(options: Namespace, field: steps.Field) -> dict[str, object]:
    """Memory of a large data set, in a process of its own, and of one update."""
    command = [sys.executable, training_memory.__file__, str(options.stored), options.device]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, object] = {
        f"MB over the bare process, {options.stored:,} sequences: {name}": size
        for name, size in json.loads(done.stdout).items()
    }
    parts = max(cut(field.batches, 0), key=num_positions)
    step = steps.make_step(field)
    step(parts)  # the optimiser's state is made once and kept
    held = peak_bytes(lambda: step(parts), options.device) / 1e6
    title = (
        f"MB of the largest update ({num_positions(parts):,} positions), weights and state aside"
    )
    return found | {title: held}


def num_positions(parts: Parts) -> int:
    """Of a batch, padding included."""
    return sum(part().inputs.numel() for part in parts)
