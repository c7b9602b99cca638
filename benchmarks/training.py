"""Compare our training step with a plain one and with the limit of the machine; see README.md.

All that is compared takes turns, each in its own process, so that whatever else the machine does
hits all alike; only ratios are meant to be read. Nothing is printed that was not measured. No
MLflow, matplotlib or Biopython is needed.
"""

from __future__ import annotations

import argparse
import platform
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path

import torch

# From this folder, where a script finds its neighbours.
from device_checks import check_device
from race import CLOCKS
from training_data import LOGNORMAL, PRESETS
from training_steps import DTYPES, Field, make_field, ours, prepare
from training_tables import batch_facts, facts, make_tables
from turns import Table, show

from protein_robust.datasets import mixing_window
from protein_robust.errors import InputError
from protein_robust.losses import LOSSES

EPOCH_SEQUENCES = 100_000
"""Of the epoch whose padding and shapes are counted."""
PARTS = ("reference", "ours", "convolutions", "assembly", "inference", "memory")
PLAIN_LOSSES = [
    name for name, loss in LOSSES.items() if not {"new_memory", "teacher"} & set(dir(loss))
]
"""Those that need neither a memory nor a teacher."""


def main() -> int:
    """Check the GPU, measure the parts that are asked for, print them."""
    options = parse()
    prepare(options)
    field = make_field(options, options.sequences)
    about, tables = describe(options, field), dict[str, Table]()
    if options.device == "cuda":
        found, is_right = check_device(field)
        tables["checks"] = facts(found)
        if not is_right:
            show(about, tables, as_json=options.json)
            print("error: a check failed, so nothing was measured", file=sys.stderr)
            return 1
    tables |= make_tables(options, field)
    if "assembly" in options.part:
        whole = make_field(options, EPOCH_SEQUENCES)
        tables["batches of an epoch"] = facts(batch_facts(whole))
    if options.profile is not None:
        write_profile(field, options.profile)
    show(about, tables, as_json=options.json)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat; all")
    parser.add_argument("--preset", choices=list(PRESETS), default="quick-start")
    parser.add_argument("--width", type=int, help="channels of the trunk (as the preset)")
    parser.add_argument("--classes", type=int, help="families (as the preset)")
    parser.add_argument("--batch-size", type=int, help="sequences an update (as the preset)")
    parser.add_argument("--sequences", type=int, help="of one pass (as the preset)")
    parser.add_argument("--max-residues", type=int, default=65536, help="positions (65536)")
    parser.add_argument("--window", type=int, help="batches sorted together (as in a study)")
    parser.add_argument("--lengths", default=LOGNORMAL, help="lognormal, or an array (.npy)")
    parser.add_argument("--data", type=Path, help="a dataset folder, for random sequences")
    parser.add_argument("--loss", choices=PLAIN_LOSSES, default="cross_entropy", help="of ours")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=list(DTYPES), help="of ours (fp32; on a GPU bf16)")
    parser.add_argument("--rounds", type=int, default=5, help="passes that are measured (5)")
    parser.add_argument("--warmup", type=int, default=1, help="passes before those (1)")
    parser.add_argument("--turn", type=float, default=0.25, help="seconds (0.25)")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="(wall)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--keep-freed-memory", action="store_true", help="as losses.py does")
    parser.add_argument("--stored", type=int, default=1_340_000, help="in memory (1340000)")
    parser.add_argument("--profile", type=Path, help="file for where the time of ours goes")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    return parser


def parse() -> Namespace:
    """Read the command line; what it leaves open comes from the preset and the device."""
    parser = make_parser()
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here")
    if options.device == "cuda" and options.clock == "cpu":
        parser.error("--clock cpu: does not see what a GPU does")
    for name, value in defaults(options).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    least = {"warmup": 0, "seed": 0, "classes": 2}
    for name, value in vars(options).items():
        if type(value) is int and value < least.get(name, 1):
            parser.error(f"--{name.replace('_', '-')}: expected at least {least.get(name, 1)}")
    return options


def defaults(options: Namespace) -> dict[str, object]:
    """Of what may be left open."""
    preset, is_gpu = PRESETS[options.preset], options.device == "cuda"
    num_classes = options.classes or preset.num_classes
    return {
        "part": list(PARTS),
        "width": preset.config.width,
        "classes": preset.num_classes,
        "batch_size": preset.batch_size,
        "sequences": preset.num_sequences,
        "window": mixing_window(num_classes),
        "precision": "bf16" if is_gpu else "fp32",
    }


def describe(options: Namespace, field: Field) -> dict[str, object]:
    """What is measured, on what."""
    is_gpu = options.device == "cuda"
    source = options.lengths if options.data is None else options.data.name
    return {
        "device": torch.cuda.get_device_name() if is_gpu else platform.machine(),
        "torch": torch.__version__,
        "precision of ours": options.precision,
        "CPU threads": options.threads,
        "width": field.config.width,
        "K": field.examples.num_classes,
        "parameters": sum(p.numel() for p in field.model().parameters()),
        "loss": options.loss,
        "B": options.batch_size,
        "positions at a time": options.max_residues,
        "window": options.window,
        "sequences": f"{len(field.examples.labels)} ({source})",
        "mean length": round(field.num_residues / len(field.examples.labels), 1),
        "rounds": options.rounds,
        "clock": options.clock,
        "freed memory": "kept" if options.keep_freed_memory else "as glibc does",
    }


def write_profile(field: Field, path: Path, *, num_steps: int = 10) -> None:
    """Write a table of the 25 operations in which our step spends most."""
    work = ours(field)(0)
    list(islice(work, 3))  # what is made once
    activities = [torch.profiler.ProfilerActivity.CPU]
    if field.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profiled:
        list(islice(work, num_steps))
        if field.device.type == "cuda":
            torch.cuda.synchronize()
    kind = "device" if field.device.type == "cuda" else "cpu"
    table = profiled.key_averages().table(sort_by=f"self_{kind}_time_total", row_limit=25)
    path.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, ValueError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
