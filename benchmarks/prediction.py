"""How fast and in how much memory `predict` classifies a FASTA; see README.md.

The command runs in a process of its own, as a user would start it, on sequences that are made here.
Nothing is printed that was not measured.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

# From this folder, where a script finds its neighbours.
from training_data import PRESETS, draw_lengths, random_column
from turns import show

from protein_robust.classifier import TOLERATED_ERRORS, Classifier, Families, Threshold
from protein_robust.evaluation.centroids import Centroids
from protein_robust.models import ProtCNN

NUM_DECOYS = 10_000


def main() -> int:
    """Write a model and a FASTA, classify it, print what that took."""
    options = parse()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rng = np.random.default_rng(options.seed)
        model = options.model or random_classifier(options.preset, rng).save(folder / "model")
        fasta = write_fasta(folder / "random.fasta", options.sequences, rng)
        rows = []
        for output in options.output:
            target = folder / f"out.{output}"
            runs = [
                measure(["--model", str(model), str(fasta), "--output", str(target)], options)
                for _ in range(options.rounds)
            ]
            rows.append({"output": output, **summary(runs), "MB written": megabytes(target)})
    about = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "model": options.model or options.preset,
        "sequences": options.sequences,
        "CPU threads": options.threads,
        "rounds": options.rounds,
    }
    show(about, {"predict": rows}, as_json=options.json)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=100_000, help="of the FASTA (100000)")
    parser.add_argument("--preset", choices=list(PRESETS), default="quick-start", help="network")
    parser.add_argument("--model", type=Path, help="a model's folder in place of a random network")
    formats = ["tsv", "parquet", "gff3"]
    parser.add_argument("--output", action="append", choices=formats, help="repeat; tsv")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(cpu)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--rounds", type=int, default=3, help="commands that are measured (3)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    options = parser.parse_args()
    options.output = options.output or ["tsv"]
    return options


def random_classifier(preset: str, rng: np.random.Generator) -> Classifier:
    """A classifier with the parts of a real one and random numbers in them."""
    config, size = PRESETS[preset].config, PRESETS[preset].num_classes
    network = ProtCNN(config, size, generator=torch.Generator().manual_seed(0)).eval()
    names = tuple(f"PF{number:05d}.1" for number in range(size))
    clans = tuple(f"CL{number // 4:04d}" if number % 3 else None for number in range(size))
    mean = torch.from_numpy(rng.normal(size=(size, config.width)).astype(np.float32))
    count = torch.ones(size, dtype=torch.int64)
    return Classifier(
        name=f"random/{preset}",
        network=network,
        families=Families(names, names, (None,) * size, clans),
        temperature=1.0,
        thresholds=tuple(Threshold(error, 0.5, 0.5) for error in TOLERATED_ERRORS),
        least_length=20,
        centroids=Centroids(mean, count, torch.eye(config.width)),
        decoy_score=rng.uniform(-2, 0, NUM_DECOYS),
        decoy_length=draw_lengths(NUM_DECOYS, rng),
    )


def write_fasta(path: Path, num_sequences: int, rng: np.random.Generator) -> Path:
    """Random residues of the lengths of Pfam domains, in lines of 60."""
    column = random_column(draw_lengths(num_sequences, rng), rng)
    with path.open("w", encoding="ascii") as file:
        for number, letters in enumerate(column.to_pylist()):
            lines = "\n".join(letters[i : i + 60] for i in range(0, len(letters), 60))
            file.write(f">seq{number:07d} of random residues\n{lines}\n")
    return path


def measure(arguments: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Run the command once: seconds with and without start-up, and its peak memory in MB."""
    command = [sys.executable, "-m", "protein_robust.pipeline", "predict", *arguments]
    command += ["--threads", str(options.threads), "--device", options.device]
    # A process of its own in between, since the peak of all children is what the system keeps.
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE, text=True, check=True)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(peak, done.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    peak, _, said = done.stdout.partition(" ")
    found = re.search(r"([\d,]+) sequences in ([\d.]+) s", said)
    assert found is not None, said
    inner = float(found[2])
    to_bytes = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": seconds,
        "classifying": inner,
        "per_second": int(found[1].replace(",", "")) / inner,
        "peak": int(peak) * to_bytes / 1e6,
    }


def summary(runs: list[dict[str, float]]) -> dict[str, object]:
    """The medians over the rounds."""
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {
        "s in all": round(middle["seconds"], 1),
        "s without start-up": round(middle["classifying"], 1),
        "sequences/s": round(middle["per_second"]),
        "peak memory in MB": round(middle["peak"]),
    }


def megabytes(path: Path) -> float:
    """Size of a file."""
    return round(path.stat().st_size / 1e6, 1)


if __name__ == "__main__":
    sys.exit(main())
