"""Which noise settings differ in the rate of wrong labels only, for curves over that rate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from protein_robust.noise.rules import WITHOUT_RATE
from protein_robust.study.plan import PlannedRun
from protein_robust.study.results import named_runs

_ALSO_WITHOUT_KIND = ("open_set_rate", "unlabelled")
"""What adds sequences to the training set whatever becomes of the labels."""


def rate_groups(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """Group the noise settings of each study that differ in `label.rate` only.

    A setting without label noise is rate 0 of every group with the same crops and the same added
    sequences.

    Args:
        runs: finished runs.

    Returns:
        ``noise``, as `protein_robust.study.results.collect_results` names it, ``group`` (words) and
        ``label_rate``; a row for each setting of each group with two rates or more, rates rising.
    """
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    kinds: dict[tuple[str, ...], tuple[str, str]] = {}
    bare: dict[tuple[str, ...], str] = {}
    for run, noise in named_runs(runs):
        crop, label = run.inputs["noise"]["crop"], run.inputs["noise"]["label"]
        place = (str(run.folder.parent.parent), _text(crop), _text(_added(label)))
        if label["kind"] == "none":
            bare[place] = noise
        elif label["kind"] not in WITHOUT_RATE:
            key = (*place, _text({**label, "rate": None}))
            groups.setdefault(key, {})[noise] = float(label["rate"])
            crops = "" if run.is_of_images else str(crop["kind"])
            kinds[key] = (str(label["kind"]), crops)
    rows = []
    names: set[str] = set()
    for group, rates in groups.items():
        if group[:3] in bare:
            rates = {bare[group[:3]]: 0.0, **rates}
        if len(set(rates.values())) > 1:
            name = _group_name(*kinds[group], names)
            ordered = sorted(rates.items(), key=lambda entry: entry[1])
            rows += [(noise, name, rate) for noise, rate in ordered]
    return pd.DataFrame(rows, columns=["noise", "group", "label_rate"])


def _added(label: Mapping[str, Any]) -> dict[str, Any]:
    return {name: label[name] for name in _ALSO_WITHOUT_KIND}


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)


def _group_name(label_kind: str, crop_kind: str, names: set[str]) -> str:
    """Words for a group, with a number where two would have the same."""
    crops = {"": "", "none": ", whole sequences"}.get(crop_kind, f", {crop_kind} crops")
    name = stem = f"{label_kind} label noise{crops}"
    number = 2
    while name in names:
        name, number = f"{stem} ({number})", number + 1
    names.add(name)
    return name
