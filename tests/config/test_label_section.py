"""Label noise in a study: kinds, published class maps by name, labels that people gave."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protein_robust.config.sections import LabelConfig
from protein_robust.noise import CLASS_MAPS, LabelRule


def test_a_published_class_map_stands_under_its_name() -> None:
    label = LabelConfig(kind="asymmetric", rate=0.4, class_map="cifar10")
    assert label.class_map == CLASS_MAPS["cifar10"]
    written = LabelConfig(kind="asymmetric", rate=0.4, class_map=dict(CLASS_MAPS["cifar10"]))
    assert label == written


def test_a_named_class_map_is_written_out_in_the_complete_study() -> None:
    written = LabelConfig(kind="asymmetric", rate=0.4, class_map="cifar10").model_dump()
    assert written["class_map"]["truck"] == "automobile"
    assert LabelConfig(**written).model_dump() == written


def test_a_class_map_of_no_known_name_is_refused_with_the_known_ones() -> None:
    expected = r"Expected a map, or the name of one \(cifar10\), got 'cifar11'\."
    with pytest.raises(ValidationError, match=expected):
        LabelConfig(kind="asymmetric", rate=0.4, class_map="cifar11")


@pytest.mark.parametrize(
    "rule",
    [
        LabelRule("clan_pair", 0.4),
        LabelRule("id_block", 0.4, count="bernoulli"),
        LabelRule("human", annotation="worse"),
    ],
    ids=lambda rule: rule.kind,
)
def test_a_rule_of_cifar_may_stand_in_a_study(rule: LabelRule) -> None:
    values = {"kind": rule.kind, "rate": rule.rate, "count": rule.count}
    label = LabelConfig(**values, annotation=rule.annotation)
    assert LabelRule(**label.model_dump()) == rule


def test_labels_that_people_gave_need_a_name() -> None:
    expected = r"`annotation` with the name of one where `kind` is human, got ''\."
    with pytest.raises(ValidationError, match=expected):
        LabelConfig(kind="human")


def test_the_two_asymmetric_noises_of_cifar100_are_told_apart_in_words() -> None:
    told = LabelConfig.model_fields["kind"].description or ""
    assert "clan_pair is the talk's" in told
    assert "id_block the usual one" in told
