"""Which noise settings make a curve over the rate of wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from protein_robust.config import load_study
from protein_robust.study import PlannedRun, plan_runs
from protein_robust.study.noise_rates import rate_groups

CROP = "crop: {kind: random, min_fraction: 0.5}"


def planned(write_study: Callable[..., Path], *settings: str) -> list[PlannedRun]:
    noise = "[" + ", ".join(f"{{{setting}}}" for setting in settings) + "]"
    return plan_runs(load_study(write_study(noise=noise)), "0" * 64)


def groups(runs: list[PlannedRun]) -> list[tuple[str, str, float]]:
    return list(rate_groups(runs).itertuples(index=False, name=None))


def test_settings_that_differ_in_the_rate_are_a_group(write_study: Callable[..., Path]) -> None:
    runs = planned(
        write_study,
        f"name: b, {CROP}, label: {{kind: symmetric, rate: 0.4}}",
        f"name: a, {CROP}, label: {{kind: symmetric, rate: 0.2}}",
    )
    name = "symmetric label noise, random crops"
    assert groups(runs) == [("a", name, 0.2), ("b", name, 0.4)]


def test_no_label_noise_is_rate_0_of_groups_with_the_same_crop(
    write_study: Callable[..., Path],
) -> None:
    runs = planned(
        write_study,
        f"name: crop, {CROP}",
        "name: whole",
        f"name: sym, {CROP}, label: {{kind: symmetric, rate: 0.4}}",
        f"name: pair, {CROP}, label: {{kind: pair, rate: 0.3}}",
    )
    assert groups(runs) == [
        ("crop", "symmetric label noise, random crops", 0.0),
        ("sym", "symmetric label noise, random crops", 0.4),
        ("crop", "pair label noise, random crops", 0.0),
        ("pair", "pair label noise, random crops", 0.3),
    ]


def test_settings_that_differ_in_more_are_no_group(write_study: Callable[..., Path]) -> None:
    runs = planned(
        write_study,
        f"name: a, {CROP}, label: {{kind: symmetric, rate: 0.2}}",
        "name: b, label: {kind: symmetric, rate: 0.4}",
        f"name: c, {CROP}, label: {{kind: symmetric, rate: 0.4, count: bernoulli}}",
        f"name: d, {CROP}, label: {{kind: none, open_set_rate: 0.1}}",
    )
    assert groups(runs) == []


def test_labels_that_people_gave_have_no_rate_that_was_set(
    write_study: Callable[..., Path],
) -> None:
    runs = planned(
        write_study,
        "name: clean",
        "name: worse, label: {kind: human, annotation: worse}",
        "name: aggre, label: {kind: human, annotation: aggre}",
    )
    assert groups(runs) == []


def test_groups_of_one_kind_have_names_of_their_own(write_study: Callable[..., Path]) -> None:
    runs = planned(
        write_study,
        *(
            f"name: {count} {rate}, label: {{kind: symmetric, rate: {rate}, count: {count}}}"
            for count in ("exact", "bernoulli")
            for rate in (0.1, 0.3)
        ),
    )
    name = "symmetric label noise, whole sequences"
    assert list(rate_groups(runs)["group"].unique()) == [name, f"{name} (2)"]
