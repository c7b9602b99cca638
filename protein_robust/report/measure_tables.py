"""Calibration before and after temperature scaling, and detection of the unknown, as text."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from protein_robust.report.rendering import NO_VALUE
from protein_robust.report.tables import check_results, require_columns

CALIBRATION_NOTE = (
    "Test data, final networks, means over seeds; before and after the scores are divided by a "
    "temperature that was fitted on validation data, never on test data. ECE: mean distance of "
    "confidence and accuracy over 15 bins, in percent, of equal width and of equal numbers. Gap: "
    "mean confidence minus accuracy, above 0 is over-confident. NLL: nats. Brier error: of 2 at "
    "most. AURC: area under risk and coverage, in percent. Lower is better, but for the gap, where "
    "0 is best. One temperature for all cannot mend everything: where the values stay high, "
    "confidence should not be read as a chance."
)
UNKNOWN_NOTE = (
    "How well a score tells test sequences of known families from sequences of none, final "
    "networks, mean ± sample sd over seeds. AUROC: 1 without fault, 0.5 by chance. FPR: share of "
    "unknown sequences that are still taken for known ones where 95 % of the known are."
)

_Printed = tuple[str, str, Callable[[float], str]]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def _number(value: float) -> str:
    return f"{value:.3f}"


_CALIBRATION: tuple[_Printed, ...] = (
    ("expected_calibration_error", "ECE", _percent),
    ("equal_mass_calibration_error", "ECE, equal mass", _percent),
    ("confidence_gap", "gap", _signed),
    ("negative_log_likelihood", "NLL", _number),
    ("brier_error", "Brier error", _number),
    ("area_under_risk_coverage", "AURC", _percent),
    ("max_probability", "max p", _percent),
    ("entropy_confidence", "1 - H(p)/H(u)", _percent),
)
_DETECTION: tuple[_Printed, ...] = (
    ("auroc", "AUROC", _number),
    ("fpr_at_95_tpr", "FPR at 95 % TPR", _number),
)


def calibration_display(results: pd.DataFrame) -> pd.DataFrame:
    """Lay out calibration before and after temperature scaling.

    Args:
        results: one row a value.

    Returns:
        ``noise``, ``loss``, ``temperature`` and a column for each measure, text such as
        ``45.6 -> 2.2``; a row for each loss that has a value after scaling. Empty for none.

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    check_results(results)
    final = results[results["checkpoint"] == "final"].dropna(subset=["value"])
    keys = ["noise", "loss"]
    mean = final.groupby([*keys, "data", "metric"], sort=False)["value"].mean()
    values: dict[tuple[str, ...], float] = dict(zip(mean.index, mean, strict=True))
    rows = []
    for noise, loss in final[keys].drop_duplicates().itertuples(index=False, name=None):
        row = {"noise": noise, "loss": loss}
        temperature = values.get((noise, loss, "valid", "temperature"))
        row["temperature"] = NO_VALUE if temperature is None else f"{temperature:.2f}"
        is_scaled = False
        for metric, name, print_one in _CALIBRATION:
            before = values.get((noise, loss, "test", metric))
            after = values.get((noise, loss, "test", f"calibrated_{metric}"))
            is_scaled |= after is not None
            row[name] = _change(before, after, print_one)
        if is_scaled:
            rows.append(row)
    names = [*keys, "temperature", *(name for _, name, _ in _CALIBRATION)]
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    return frame.loc[:, (frame != NO_VALUE).any() | frame.columns.isin(keys)]


def unknown_display(unknown: pd.DataFrame) -> pd.DataFrame:
    """Lay out how well the unknown is told apart.

    Args:
        unknown: columns ``noise, loss, seed, kind, score, auroc, fpr_at_95_tpr``.

    Returns:
        ``noise``, ``kind``, ``score``, ``measure`` and a column for each loss, text.

    Raises:
        ValueError: if a column is missing.
    """
    keys = ["noise", "kind", "score"]
    require_columns(unknown, (*keys, "loss", "seed", "auroc", "fpr_at_95_tpr"), "unknown")
    losses = [str(loss) for loss in unknown["loss"].unique()]
    rows = []
    for key, part in unknown.groupby(keys, sort=False):
        for column, name, print_one in _DETECTION:
            row = {**dict(zip(keys, map(str, key), strict=True)), "measure": name}
            for loss in losses:
                of_loss = part.loc[part["loss"] == loss, column].dropna()
                row[loss] = _spread(of_loss, print_one)
            rows.append(row)
    return pd.DataFrame(rows, columns=[*keys, "measure", *losses], dtype=object)


def _change(before: float | None, after: float | None, print_one: Callable[[float], str]) -> str:
    """A value before and after; a dash where there is none."""
    if before is None and after is None:
        return NO_VALUE
    texts = [NO_VALUE if value is None else print_one(value) for value in (before, after)]
    return " \N{RIGHTWARDS ARROW} ".join(texts)


def _spread(values: pd.Series, print_one: Callable[[float], str]) -> str:
    """Mean and sample sd over seeds."""
    if values.empty:
        return NO_VALUE
    text = print_one(float(values.mean()))
    return text if len(values) < 2 else f"{text} ± {print_one(float(values.std(ddof=1)))}"
