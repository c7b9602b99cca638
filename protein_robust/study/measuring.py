"""The tables of a trained network: by group, by confidence, by coverage, by kept fraction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from protein_robust.datasets import Batches
from protein_robust.evaluation.calibration import equal_mass_bins, equal_width_bins, reliability
from protein_robust.evaluation.coverage import risk_coverage
from protein_robust.evaluation.groups import Grouping, measure_groups
from protein_robust.evaluation.predict import Predictions, predict_at
from protein_robust.evaluation.temperature import collect_logits, fit_temperature, sample_size
from protein_robust.ingest import read_families
from protein_robust.noise import CropRule, draw_crops
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import RunData
from protein_robust.study.sequence_data import SequenceData

FRACTIONS = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Of each test sequence, to see how a network bears less and less of it."""

# Streams of random numbers of a run's seed, beside that of `training.RunObserver` (2).
SAMPLE, BOOTSTRAP, CUTS = 3, 4, 5


@dataclass(frozen=True)
class Reading:
    """What a network says of one kind of data.

    Attributes:
        predictions: as the network is.
        calibrated: at the fitted temperature; None where there is no validation data to fit it.
    """

    predictions: Predictions
    calibrated: Predictions | None


def find_temperature(run: PlannedRun, data: RunData, model: nn.Module) -> float | None:
    """Fit the temperature on validation data, cropped as they are evaluated; None without any."""
    size = data.size("valid")
    if not size:
        return None
    rng = np.random.default_rng([run.seed, SAMPLE])
    chosen = np.sort(rng.permutation(size)[: sample_size(len(data.families))])
    batches = data.evaluation_batches("valid", run, chosen)
    logits, label = collect_logits(model, batches, precision=run.inputs["training"]["precision"])
    return fit_temperature(logits, label)


def read(run: PlannedRun, model: nn.Module, batches: Batches, temperature: float | None) -> Reading:
    """Predict, and read the scores before and after scaling."""
    temperatures = [1.0] if temperature is None else [1.0, temperature]
    precision = run.inputs["training"]["precision"]
    first, *rest = predict_at(model, batches, temperatures, precision=precision)
    return Reading(first, rest[0] if rest else None)


def clan_numbers(run: PlannedRun) -> NDArray[np.int64]:
    """Number of each family's clan, shape (K,); a family without one has a number of its own."""
    clans = read_families(run.dataset_folder)["clan"].to_pylist()
    names = [f"clan {clan}" if clan else f"family {row}" for row, clan in enumerate(clans)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def measure_tables(
    run: PlannedRun, data: RunData, kind: str, reading: Reading
) -> dict[str, pd.DataFrame]:
    """Lay out one kind of data: ``groups``, ``reliability`` and ``risk_coverage``.

    Args:
        run: the run.
        data: what it reads.
        kind: such as ``test``.
        reading: what the network says of it.

    Returns:
        The tables; that of risk and coverage has at most 200 rows.
    """
    label = data.label[data.split_of(kind)]
    groups = [
        pd.DataFrame(
            measure_groups(reading.predictions, reading.calibrated, label, grouping)
        ).assign(group_by=name)
        for name, grouping in data.groupings(run, kind).items()
    ]
    best = reading.calibrated or reading.predictions
    curve = risk_coverage(best.max_probability, best.prediction == label).thinned()
    return {
        "groups": pd.concat(groups, ignore_index=True),
        "reliability": pd.concat(_diagrams(reading, label), ignore_index=True),
        "risk_coverage": pd.DataFrame(
            {"threshold": curve.threshold, "coverage": curve.coverage, "risk": curve.risk}
        ),
    }


def _diagrams(reading: Reading, label: NDArray[np.int64]) -> Iterator[pd.DataFrame]:
    """Reliability before and after scaling, in both kinds of bins."""
    for is_calibrated, said in ((False, reading.predictions), (True, reading.calibrated)):
        if said is None:
            continue
        is_correct = said.prediction == label
        for binning, bins in (("equal_width", equal_width_bins), ("equal_mass", equal_mass_bins)):
            confidence = said.max_probability
            numbers = vars(reliability(confidence, is_correct, bins(confidence)))
            yield pd.DataFrame(numbers).assign(
                is_calibrated=is_calibrated, binning=binning, place=range(len(numbers["low"]))
            )


def measure_kept_fractions(
    run: PlannedRun, data: SequenceData, model: nn.Module, temperature: float | None
) -> pd.DataFrame:
    """Cut the test sequences to fixed fractions, at random places, and measure each time.

    Args:
        run: the run.
        data: what it reads; its test data are not empty.
        model: the network.
        temperature: what it is scaled by; None for no scaling.

    Returns:
        A row for each of `FRACTIONS`: ``kept_fraction``, and the numbers of
        `protein_robust.evaluation.groups.measure_groups`.
    """
    dataset = data.datasets["test"]
    everything = Grouping(np.zeros(len(dataset), np.int64), ["all"])
    rows = []
    for fraction in FRACTIONS:
        rule = CropRule("random", min_fraction=fraction, max_fraction=fraction)
        rng = np.random.default_rng([run.seed, CUTS])
        crops = draw_crops(dataset.lengths, rule=rule, rng=rng)
        reading = read(run, model, data.cropped_batches("test", crops, run), temperature)
        label = data.label["test"]
        numbers = measure_groups(reading.predictions, reading.calibrated, label, everything)
        rows.append(pd.DataFrame(numbers).assign(kept_fraction=fraction))
    return pd.concat(rows, ignore_index=True).drop(columns=["group", "place"])
