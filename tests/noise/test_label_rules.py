"""What a rule of label noise may ask for."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import pytest

from protein_robust.noise import LabelRule

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "odd"}, r"`kind` one of none, symmetric, pair, .*, human, got 'odd'\."),
    "own class": ({"own_class": "x"}, r"`own_class` one of excluded, included, got 'x'\."),
    "count": ({"count": "x"}, r"`count` one of exact, bernoulli, got 'x'\."),
    "unlabelled": ({"unlabelled": "x"}, r"`unlabelled` one of leave out, random, got 'x'\."),
    "rate below": ({"kind": "symmetric", "rate": -0.1}, r"`rate` in \[0, 1\], got -0\.1\."),
    "rate above": ({"kind": "symmetric", "rate": 1.01}, r"`rate` in \[0, 1\], got 1\.01\."),
    "rate nan": ({"kind": "pair", "rate": float("nan")}, r"`rate` in \[0, 1\], got nan\."),
    "rate of none": ({"rate": 0.2}, r"`rate` 0 where `kind` is none, got 0\.2\."),
    "rate of a matrix": (
        {"kind": "matrix", "rate": 0.2, "transitions": {"A": {"B": 0.1}}},
        r"`rate` 0 where `kind` is matrix, got 0\.2\.",
    ),
    "share": ({"kind": "clan", "in_clan_share": 2}, r"`in_clan_share` in \[0, 1\], got 2\."),
    "share of pair": (
        {"kind": "pair", "rate": 0.1, "in_clan_share": 0.5},
        r"`in_clan_share` only where `kind` is clan, got 0\.5 where it is pair\.",
    ),
    "included pair": (
        {"kind": "pair", "rate": 0.1, "own_class": "included"},
        r"`own_class` included only where `kind` is symmetric, got pair\.",
    ),
    "open set": ({"open_set_rate": 1.0}, r"`open_set_rate` in \[0, 1\), got 1\.0\."),
    "open set below": ({"open_set_rate": -0.5}, r"`open_set_rate` in \[0, 1\), got -0\.5\."),
    "spread": (
        {"kind": "symmetric", "rate": 0.1, "rate_spread": -1},
        r"a finite `rate_spread` of at least 0, got -1\.",
    ),
    "spread of a map": (
        {"kind": "asymmetric", "rate": 0.1, "class_map": {"A": "B"}, "rate_spread": 0.1},
        r"`rate_spread` only where `kind` is one of symmetric, pair, clan, got 0\.1 .* asymmetric",
    ),
    "spread of nothing": (
        {"kind": "symmetric", "rate_spread": 0.1},
        r"`rate_spread` 0 where `rate` is 0, got 0\.1\.",
    ),
    "spread of drawn pairs": (
        {"kind": "clan_pair", "rate": 0.1, "rate_spread": 0.1},
        r"`rate_spread` only where `kind` is one of symmetric, pair, clan, got 0\.1 .* clan_pair",
    ),
    "share of drawn pairs": (
        {"kind": "clan_pair", "rate": 0.1, "in_clan_share": 0.5},
        r"`in_clan_share` only where `kind` is clan, got 0\.5 where it is clan_pair\.",
    ),
    "included block": (
        {"kind": "id_block", "rate": 0.1, "own_class": "included"},
        r"`own_class` included only where `kind` is symmetric, got id_block\.",
    ),
    "map of a block": (
        {"kind": "id_block", "rate": 0.1, "class_map": {"A": "B"}},
        r"`class_map` with nothing where `kind` is id_block, got 1 entries\.",
    ),
    "rate of people": (
        {"kind": "human", "rate": 0.4, "annotation": "worse"},
        r"`rate` 0 where `kind` is human, got 0\.4\.",
    ),
    "no annotation": (
        {"kind": "human"},
        r"`annotation` with the name of one where `kind` is human, got ''\.",
    ),
    "unused annotation": (
        {"kind": "pair", "rate": 0.1, "annotation": "worse"},
        r"`annotation` with nothing where `kind` is pair, got 'worse'\.",
    ),
    "no map": (
        {"kind": "asymmetric", "rate": 0.1},
        r"`class_map` with at least one class where `kind` is asymmetric, got 0 entries\.",
    ),
    "unused map": (
        {"kind": "pair", "rate": 0.1, "class_map": {"A": "B"}},
        r"`class_map` with nothing where `kind` is pair, got 1 entries\.",
    ),
    "map onto itself": (
        {"kind": "asymmetric", "rate": 0.1, "class_map": {"A": "A"}},
        r"`class_map` onto other classes, got 'A' onto itself\.",
    ),
    "no matrix": (
        {"kind": "matrix"},
        r"`transitions` with at least one row where `kind` is matrix, got 0 rows\.",
    ),
    "unused matrix": (
        {"kind": "pair", "rate": 0.1, "transitions": {"A": {"B": 0.1}}},
        r"`transitions` with nothing where `kind` is pair, got 1 rows\.",
    ),
    "probability": (
        {"kind": "matrix", "transitions": {"A": {"B": -0.1}}},
        r"`transitions` with values in \[0, 1\], got -0\.1 from 'A' to 'B'\.",
    ),
    "row sum": (
        {"kind": "matrix", "transitions": {"A": {"B": 0.5, "C": 0.625}}},
        r"rows of `transitions` with a sum of at most 1, got 1\.125 for 'A'\.",
    ),
}


@pytest.mark.parametrize(("values", "message"), CASES.values(), ids=CASES.keys())
def test_a_value_that_is_not_allowed_or_has_no_use_is_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="Expected " + message):
        LabelRule(**values)


def test_a_row_may_sum_to_a_rounding_above_one() -> None:
    row = {"B": 0.5, "C": 0.5 + 5e-10}
    assert LabelRule("matrix", transitions={"A": row}).transitions == {"A": row}


@pytest.mark.parametrize(
    "rule",
    [
        LabelRule("symmetric", 0.2, open_set_rate=0.1, unlabelled="random"),
        LabelRule("asymmetric", 0.2, class_map=MappingProxyType({"A": "B"})),
        LabelRule("matrix", transitions=MappingProxyType({"A": MappingProxyType({"B": 0.5})})),
        LabelRule("clan_pair", 0.4, count="bernoulli"),
        LabelRule("human", annotation="worse"),
    ],
    ids=lambda rule: rule.kind,
)
def test_a_rule_comes_back_from_json(rule: LabelRule) -> None:
    assert LabelRule(**json.loads(json.dumps(asdict(rule)))) == rule


def test_a_rule_does_not_change_with_the_mappings_that_it_was_given() -> None:
    row = {"B": 0.5}
    rule = LabelRule("matrix", transitions={"A": row})
    row["B"] = 0.75
    assert rule.transitions == {"A": {"B": 0.5}}


def test_a_rule_that_was_written_before_there_were_annotations_has_none() -> None:
    written = asdict(LabelRule("pair", 0.2))
    del written["annotation"]
    assert LabelRule(**written) == LabelRule("pair", 0.2)


def test_rules_can_be_keys() -> None:
    assert len({LabelRule("pair", 0.1), LabelRule("pair", 0.1), LabelRule()}) == 2
