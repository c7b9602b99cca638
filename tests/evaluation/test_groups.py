"""Groups of examples, each measured as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from test_predict import LABEL, Listed, Lookup, N

from protein_robust.evaluation import expected_calibration_error
from protein_robust.evaluation.classification import wilson_interval
from protein_robust.evaluation.groups import FAMILY_SIZES, Grouping, group_by_ends, measure_groups
from protein_robust.evaluation.measures import CALIBRATED, measure
from protein_robust.evaluation.predict import Predictions, predict_at


def predictions() -> tuple[Predictions, Predictions]:
    plain, scaled = predict_at(Lookup(), Listed([list(range(N))]), [1.0, 2.0])
    return plain, scaled


def measured(calibrated: Predictions | None = None) -> dict[str, float]:
    clans = np.array([0, 0, 1, 2, 3])
    rng = np.random.default_rng(0)
    return measure(predictions()[0], calibrated, LABEL.numpy(), clan_of=clans, rng=rng)


def test_each_group_is_measured_as_if_it_were_alone() -> None:
    plain, scaled = predictions()
    label = LABEL.numpy()
    number = np.array([2, 0, 2, 0, 3, 3, 3, 0, 2, 2, 0])  # none in group 1
    found = measure_groups(plain, scaled, label, Grouping(number, ["a", "b", "c", "d"]))
    assert found["group"] == ["a", "c", "d"]
    assert np.asarray(found["place"]).tolist() == [0, 2, 3]
    for row, group in enumerate((0, 2, 3)):
        inside = number == group
        right = (plain.prediction == label)[inside]
        expected = {
            "num_examples": inside.sum(),
            "accuracy": right.mean(),
            "accuracy_low": wilson_interval(int(right.sum()), len(right))[0],
            "accuracy_high": wilson_interval(int(right.sum()), len(right))[1],
            "entropy_confidence": plain.entropy_confidence[inside].mean(),
            "max_probability": plain.max_probability[inside].mean(),
            "calibrated_max_probability": scaled.max_probability[inside].mean(),
            "expected_calibration_error": expected_calibration_error(
                plain.max_probability[inside], right
            ),
            "calibrated_expected_calibration_error": expected_calibration_error(
                scaled.max_probability[inside], right
            ),
        }
        assert expected.keys() == found.keys() - {"group", "place"}
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value), name


def test_without_scaling_there_are_no_scaled_numbers() -> None:
    grouping = Grouping(np.zeros(N, np.int64), ["all"])
    found = measure_groups(predictions()[0], None, LABEL.numpy(), grouping)
    for name in ("calibrated_max_probability", "calibrated_expected_calibration_error"):
        assert np.isnan(np.asarray(found[name])).tolist() == [True]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        pytest.param([1, 10], ["<= 10", "<= 10"], id="up to the first end"),
        pytest.param([11, 50, 51], ["11-50", "11-50", "51-200"], id="between"),
        pytest.param([200, 201, 9999], ["51-200", "> 200", "> 200"], id="above the last"),
    ],
)
def test_an_end_belongs_to_the_group_below_it(values: list[int], names: list[str]) -> None:
    grouping = group_by_ends(np.array(values), FAMILY_SIZES)
    assert [grouping.names[number] for number in grouping.number] == names


def test_groups_of_fractions_are_named_by_their_ends() -> None:
    values: NDArray[np.float64] = np.array([0.2, 0.21, 1.0])
    grouping = group_by_ends(values, (0.2, 0.4))
    assert list(grouping.names) == ["<= 0.2", "0.2-0.4", "> 0.4"]
    assert grouping.number.tolist() == [0, 1, 2]


def test_the_measures_of_a_data_set_are_those_of_its_predictions() -> None:
    plain, scaled = predictions()
    found, label = measured(scaled), LABEL.numpy()
    right = plain.prediction == label
    assert found["negative_log_likelihood"] == pytest.approx(-plain.log_label_probability.mean())
    assert found["confidence_gap"] == pytest.approx(plain.max_probability.mean() - right.mean())
    assert found["top5_accuracy"] == 1  # there are five classes
    for prefix, said in (("", plain), (CALIBRATED, scaled)):
        error = expected_calibration_error(said.max_probability, right)
        assert found[f"{prefix}expected_calibration_error"] == pytest.approx(error)
        assert found[f"{prefix}brier_error"] == pytest.approx(said.brier_error.mean())
    assert found["calibrated_max_probability"] == pytest.approx(scaled.max_probability.mean())


def test_a_family_of_the_same_clan_is_right_by_clan() -> None:
    plain = predictions()[0]
    clan = {0: 0, 1: 0, 2: 1, 3: 2, 4: 3}
    pairs = zip(plain.prediction.tolist(), LABEL.tolist(), strict=True)
    expected = np.mean([clan[said] == clan[label] for said, label in pairs])
    assert measured()["clan_accuracy"] == pytest.approx(expected)
    assert measured()["clan_accuracy"] >= (plain.prediction == LABEL.numpy()).mean()


def test_every_interval_has_its_value_between_or_below_its_ends() -> None:
    found = measured(predictions()[1])
    names = [name.removesuffix("_low") for name in found if name.endswith("_low")]
    assert len(names) == 5  # accuracy and two errors before and after scaling
    for name in names:
        assert found[f"{name}_low"] < found[f"{name}_high"]
        # A resample has the larger calibration error, if anything.
        assert name == "accuracy" or found[name] <= found[f"{name}_high"]


def test_without_scaling_nothing_is_called_calibrated() -> None:
    assert not [name for name in measured() if name.startswith(CALIBRATED)]
