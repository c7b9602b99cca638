"""Compare our batches of images with a plain pipeline, and ways to run a step; see README.md.

All that is compared takes turns, so that whatever else the machine does hits all alike; only
ratios are meant to be read. Nothing is printed that was not measured. No MLflow, matplotlib or
Biopython is needed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from argparse import Namespace
from typing import get_args

import torch

# From this folder, where a script finds its neighbours.
from image_steps import (
    BASELINE,
    MODES,
    OURS,
    PLAIN,
    SIDE,
    Setting,
    build,
    prepare,
    several,
    step,
)
from race import CLOCKS, processes, race
from turns import Seconds, Table, interleave, keep_freed_memory, ratio, show, spread

from protein_robust.models.resnet import Architecture

AIM = "at least 5"
"""Images a second of ours over those of the plain pipeline."""
ARCHITECTURES = ("resnet20", "resnet56", "resnet18")
PARTS = ("assembly", "step")
PRECISIONS = ("fp32", "bf16")


def main() -> int:
    """Measure the parts that are asked for, and print them."""
    options = parse()
    keep_freed_memory()
    prepare(options)
    tables: dict[str, Table] = {}
    if "assembly" in options.part:
        tables |= measure_assembly(options)
    for name in options.architecture if "step" in options.part else ():
        tables[f"step: {name}, B = {options.batch_size}"] = measure_step(options, name)
    show(describe(options), tables, as_json=options.json)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--part", action="append", choices=PARTS, help="repeat; all")
    every, three = get_args(Architecture), ", ".join(ARCHITECTURES)
    add("--architecture", action="append", choices=every, help=f"of the step; repeat; {three}")
    add("--precision", action="append", choices=PRECISIONS, help="of the step; repeat; all")
    add("--mode", action="append", choices=MODES, help="repeat; eager; on a GPU all")
    add("--images", type=int, default=10_000, help="of one pass of assembly (10000)")
    add("--batch-size", type=int, default=128, help="images a batch (128)")
    add("--classes", type=int, default=100, help="K (100)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--steps", type=int, help="a turn of the part step (1; on a GPU 20)")
    add("--rounds", type=int, default=10, help="that are measured (10)")
    add("--warmup", type=int, default=2, help="rounds before those (2)")
    add("--turn", type=float, default=0.25, help="seconds, of the part assembly (0.25)")
    add("--clock", choices=list(CLOCKS), default="wall", help="of the part assembly (wall)")
    add("--threads", type=int, default=1, help="CPU threads (1)")
    add("--cudnn-benchmark", action="store_true", help="let cuDNN try its algorithms, for all")
    add("--seed", type=int, default=0, help="of all that is random (0)")
    add("--json", action="store_true", help="print JSON instead of Markdown")
    return parser


def parse() -> Namespace:
    """Read the command line; what it leaves open depends on the device."""
    parser = make_parser()
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    complaint = mistake_in(options)
    if complaint:
        parser.error(complaint)
    is_gpu = options.device == "cuda"
    defaults = {
        "part": PARTS,
        "architecture": ARCHITECTURES,
        "precision": PRECISIONS,
        "mode": MODES if is_gpu else MODES[:1],
        "steps": 20 if is_gpu else 1,
    }
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def mistake_in(options: Namespace) -> str:
    """What the device cannot do, or which number is too small; nothing where all is well."""
    is_gpu = options.device == "cuda"
    if is_gpu and not torch.cuda.is_available():
        return "--device cuda: PyTorch sees no GPU here"
    if is_gpu and options.clock == "cpu":
        return "--clock cpu: does not see what a GPU does"
    if not is_gpu and "graphs" in (options.mode or ()):
        return "--mode graphs: CUDA graphs need --device cuda"
    least = {"warmup": 0, "seed": 0, "classes": 2}
    for name, value in vars(options).items():
        if type(value) is int and value < least.get(name, 1):
            return f"--{name.replace('_', '-')}: expected at least {least.get(name, 1)}"
    return ""


def measure_assembly(options: Namespace) -> dict[str, Table]:
    """Time passes that make batches and do nothing with them."""
    with processes((PLAIN, OURS), build, options) as runners:
        seconds = race(runners, rounds=options.rounds, warmup=options.warmup)
    rows: Table = [
        {
            "what": name,
            "seconds": statistics.median(every),
            "images/s": f"{options.images / statistics.median(every):,.0f}",
        }
        for name, every in seconds.items()
    ]
    found: Table = [
        {
            "images/s over": PLAIN,
            "ratio": ratio(seconds, PLAIN, OURS),
            "quartiles": spread(seconds, PLAIN, OURS),
            "aim": AIM,
        }
    ]
    title = f"assembly: {options.images:,} images a pass, B = {options.batch_size}"
    return {title: rows, "assembly, ratio": found}


def measure_step(options: Namespace, architecture: str) -> Table:
    """Time a training step of a network in each way to run it, against the plain way."""
    settings = [
        BASELINE,
        *(Setting(precision, mode) for mode in options.mode for precision in options.precision),
    ]
    torch.compiler.reset()
    runs = {
        str(setting): several(step(options, architecture, setting), options.steps)
        for setting in settings
    }
    pace = {"rounds": options.rounds, "warmup": options.warmup, "device": options.device}
    seconds = interleave(runs, **pace)
    return [step_row(options, seconds, name) for name in runs]


def step_row(options: Namespace, seconds: Seconds, name: str) -> dict[str, object]:
    """Of one way to run a step."""
    taken = statistics.median(seconds[name]) / options.steps
    return {
        "step": name,
        "ms": 1000 * taken,
        "images/s": f"{options.batch_size / taken:,.1f}",
        "times as fast": ratio(seconds, str(BASELINE), name),
        "quartiles": spread(seconds, str(BASELINE), name),
    }


def describe(options: Namespace) -> dict[str, object]:
    """What is measured, on what."""
    is_gpu = options.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_gpu else platform.machine(),
        "torch": torch.__version__,
        "CPU threads": options.threads,
        "image": f"{SIDE} x {SIDE} x 3",
        "K": options.classes,
        "B": options.batch_size,
        "rounds": options.rounds,
        "steps a turn": options.steps,
        "clock of assembly": options.clock,
        "cuDNN": "tries algorithms" if options.cudnn_benchmark else "as it chooses",
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
