"""What it costs to measure a network on a test set the size of Pfam's, past its forward passes.

Random sequences with lengths like Pfam's and a network of random weights with a head for 17,929
families: the numbers mean nothing, their cost is that of real ones. In one process: ``forward``
runs the network over the test set and keeps nothing; ``temperature`` collects the scores of some
validation sequences and fits T; ``measured`` runs it over the test set and keeps what evaluation
keeps at two temperatures; ``metrics`` and ``groups`` are what is read off that, with intervals.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from ingest_jobs import peak_bytes
from training_data import Examples, draw_lengths, make_batches, random_column

from protein_robust.evaluation.calibration import equal_mass_bins, reliability
from protein_robust.evaluation.coverage import risk_coverage
from protein_robust.evaluation.groups import (
    FAMILY_SIZES,
    LENGTHS,
    Grouping,
    group_by_ends,
    measure_groups,
)
from protein_robust.evaluation.measures import measure
from protein_robust.evaluation.predict import Predictions, over_examples, predict_at
from protein_robust.evaluation.temperature import collect_logits, fit_temperature, sample_size
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.study.run_data import EVALUATION_BATCH_SIZE

T = TypeVar("T")
MAX_RESIDUES = 65_536
"""The default of a study."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    """Measure, and print seconds of each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=126_171)
    parser.add_argument("--families", type=int, default=17_929)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    before = peak_bytes()
    seconds = measure_all(options)
    past = sum(s for name, s in seconds.items() if name != "forward") - seconds["forward"]
    for name, value in seconds.items():
        print(f"{name:<12} {value:8.1f} s")
    print(f"{'past forward':<12} {past:8.1f} s")
    print(f"peak memory {peak_bytes() / 1e6:,.0f} MB ({before / 1e6:,.0f} MB of them imports)")
    return 0


def measure_all(options: argparse.Namespace) -> dict[str, float]:
    """Seconds by part."""
    rng = np.random.default_rng(0)
    lengths = draw_lengths(options.sequences, rng)
    labels = rng.integers(0, options.families, options.sequences)
    examples = Examples(random_column(lengths, rng), labels, options.families)
    batches = make_batches(
        examples,
        batch_size=EVALUATION_BATCH_SIZE,
        max_residues=MAX_RESIDUES,
        device=options.device,
        seed=0,
        window=4096,
    )
    generator = torch.Generator().manual_seed(0)
    model = ProtCNN(ProtCNNConfig(width=options.width), options.families, generator=generator)
    model = model.to(options.device)
    chosen = np.sort(rng.permutation(options.sequences)[: sample_size(options.families)])
    valid = replace(batches, subset=chosen)
    seconds: dict[str, float] = {}
    clock = CLOCKS[options.clock]

    def timed(name: str, work: Callable[[], T]) -> T:
        start = clock()
        done = work()
        seconds[name] = clock() - start
        return done

    timed("forward", lambda: over_examples(model, batches, lambda _, b: b.index[:, None]))
    temperature = timed("temperature", lambda: fit_temperature(*collect_logits(model, valid)))
    plain, scaled = timed("measured", lambda: predict_at(model, batches, [1.0, temperature]))
    clans = np.arange(options.families) // 3
    timed("metrics", lambda: measure(plain, scaled, labels, clan_of=clans, rng=rng))
    timed("groups", lambda: lay_out(plain, scaled, examples, lengths))
    return seconds


def lay_out(
    plain: Predictions, scaled: Predictions, examples: Examples, lengths: np.ndarray
) -> None:
    """Make every table of an evaluated data set."""
    labels, size = examples.labels, examples.num_classes
    names = [str(number) for number in range(size)]
    sizes = np.bincount(labels, minlength=size)[labels]
    for grouping in (
        group_by_ends(sizes, FAMILY_SIZES),
        group_by_ends(lengths, LENGTHS),
        Grouping(labels, names),
    ):
        measure_groups(plain, scaled, labels, grouping)
    for said in (plain, scaled):
        is_correct = said.prediction == labels
        reliability(said.max_probability, is_correct, equal_mass_bins(said.max_probability))
        risk_coverage(said.max_probability, is_correct).thinned()


if __name__ == "__main__":
    sys.exit(main())
