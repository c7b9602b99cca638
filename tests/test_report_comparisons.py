"""Pairs of methods, and final beside best networks, from hand-made frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protein_robust.evaluation.comparison import mcnemar_p_values
from protein_robust.report.checkpoints import (
    CHECKPOINT_NOTE,
    checkpoints_display,
    checkpoints_frame,
    checkpoints_markdown,
)
from protein_robust.report.comparisons import (
    compare_methods,
    comparisons_display,
    comparisons_markdown,
    plain_statements,
)
from protein_robust.report.frames import StudyFrames
from protein_robust.report.writing import write_more_tables

SIZE = 60


def predictions(**num_right: int) -> pd.DataFrame:
    """Each method gets the first so many of 60 sequences right, in one noise setting and seed."""
    rows = [
        ("crop", loss, 0, row, "PF1", "PF1" if row < right else "PF2")
        for loss, right in num_right.items()
        for row in range(SIZE)
    ]
    names = ["noise", "loss", "seed", "row", "clean_label", "prediction"]
    return pd.DataFrame(rows, columns=names)


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    return compare_methods(frame, np.random.default_rng(3))


class TestCompareMethods:
    def test_hand_counts_of_three_methods(self) -> None:
        made = compared(predictions(A=54, B=30, C=29))
        assert list(zip(made["first"], made["second"], strict=True)) == [
            ("A", "B"), ("A", "C"), ("B", "C"),
        ]  # fmt: skip
        assert made["first_only"].tolist() == [24, 25, 1]
        assert made["second_only"].tolist() == [0, 0, 0]
        assert made["difference"].tolist() == pytest.approx([24 / 60, 25 / 60, 1 / 60])
        assert made["is_real"].tolist() == [True, True, False]

    def test_p_values_are_corrected_within_a_noise_setting(self) -> None:
        one = predictions(A=54, B=45)
        made = compared(pd.concat([one, one.assign(noise="label")]))
        assert made["noise"].tolist() == ["crop", "label"]
        assert made["p_holm"].tolist() == [mcnemar_p_values(9, 0)[0]] * 2

    def test_rows_are_matched_by_their_number(self) -> None:
        frame = predictions(A=54, B=30)
        shuffled = frame.sample(frac=1, random_state=0)
        pd.testing.assert_frame_equal(
            compared(shuffled.sort_values("loss", kind="stable")), compared(frame)
        )

    @pytest.mark.parametrize("missing", [None, float("nan"), pd.NA], ids=["None", "NaN", "NA"])
    def test_a_missing_prediction_is_a_wrong_one(self, missing: object) -> None:
        frame = predictions(A=54, B=30).astype(object)
        frame.loc[frame["prediction"] == "PF2", "prediction"] = missing
        pd.testing.assert_frame_equal(compared(frame), compared(predictions(A=54, B=30)))

    def test_other_examples_are_an_error(self) -> None:
        frame = predictions(A=54, B=30)
        with pytest.raises(ValueError, match="the same examples for every loss and seed"):
            compared(frame.drop(index=frame.index[-1]))

    def test_other_labels_of_a_row_are_an_error(self) -> None:
        frame = predictions(A=54, B=30)
        frame.loc[frame.index[-1], "clean_label"] = "PF9"
        with pytest.raises(ValueError, match="got others for B"):
            compared(frame)

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `predictions` .*got none named row"):
            compared(predictions(A=54).drop(columns="row"))

    def test_one_method_has_no_pairs(self) -> None:
        made = compared(predictions(A=54))
        assert len(made) == 0
        assert "statement" in made


class TestWords:
    def test_display_has_differences_in_points(self) -> None:
        frame = compared(predictions(A=54, B=30)).assign(low=0.283, high=0.517)
        assert comparisons_display(frame).iloc[0].tolist() == [
            "crop", "A - B", "40.0 (28.3 to 51.7)", "\N{EN DASH}", "24 : 0", "< 0.0001", "A",
        ]  # fmt: skip

    def test_the_leader_is_named_with_those_that_chance_may_have_put_below_it(self) -> None:
        said = plain_statements(compared(predictions(B=30, A=54, C=53)))["crop"]
        assert said[0] == ("Highest test accuracy: A, 90.0 %; no difference beyond chance from C.")
        assert said[1].startswith("A is better than B by 40.0 points (")
        assert said[-1] == "No difference beyond chance: 1 of 3 pairs."

    def test_a_leader_that_differs_from_all_is_above_them(self) -> None:
        said = plain_statements(compared(predictions(A=54, B=30)))["crop"]
        assert said[0] == "Highest test accuracy: A, 90.0 %; above all others."
        assert len(said) == 2

    def test_many_differences_are_counted_instead(self) -> None:
        said = plain_statements(compared(predictions(A=58, B=40, C=20)), most=1)["crop"]
        assert said[2] == "2 more differences are real; all are in the table."

    def test_markdown_says_it_in_words_and_in_numbers(self) -> None:
        text = comparisons_markdown(compared(predictions(A=54, B=30)), "Differences")
        assert text.startswith("## Differences")
        assert "- A is better than B by 40.0 points" in text
        assert "| crop | A - B | 40.0 (" in text


def results() -> pd.DataFrame:
    """Two seeds; the best network gains 2 points in one seed and 4 in the other."""
    values = {("final", 0): 0.80, ("best", 0): 0.82, ("final", 1): 0.84, ("best", 1): 0.88}
    rows = [
        ("crop", "CE", seed, point, "test", "accuracy", value)
        for (point, seed), value in values.items()
    ]
    rows.append(("crop", "HMM", 0, "final", "test", "accuracy", 0.9))
    names = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


class TestCheckpoints:
    def test_difference_is_the_mean_over_seeds(self) -> None:
        row = checkpoints_frame(results()).iloc[0]
        assert (row["final"], row["best"]) == pytest.approx((0.82, 0.85))
        assert row["difference"] == pytest.approx(0.03)
        # 2 and 4 points: sample sd = 2 / sqrt(2).
        assert row["difference_sd"] == pytest.approx(0.02 / np.sqrt(2))
        assert row["num_seeds"] == 2

    def test_a_method_with_one_network_is_left_out(self) -> None:
        assert checkpoints_frame(results())["loss"].tolist() == ["CE"]

    def test_without_best_networks_it_is_empty(self) -> None:
        frame = results()
        assert len(checkpoints_frame(frame[frame["checkpoint"] == "final"])) == 0

    def test_order_is_that_of_the_study(self) -> None:
        frame = results().query("loss == 'CE'")
        both = pd.concat([frame.assign(loss="Z"), frame, frame.assign(noise="a", loss="Z")])
        made = checkpoints_frame(both)
        assert list(zip(made["noise"], made["loss"], strict=True)) == [
            ("crop", "Z"), ("crop", "CE"), ("a", "Z"),
        ]  # fmt: skip

    def test_display_signs_the_difference(self) -> None:
        assert checkpoints_display(checkpoints_frame(results())).iloc[0].tolist() == [
            "crop", "accuracy", "test", "CE", "82.0 ± 2.8", "85.0 ± 4.2", "+3.0 ± 1.4",
        ]  # fmt: skip

    def test_the_caveat_of_early_stopping_stands_with_it(self) -> None:
        assert CHECKPOINT_NOTE in checkpoints_markdown(checkpoints_frame(results()), "x")
        assert "Early stopping can make methods much alike" in CHECKPOINT_NOTE


class TestFiles:
    def test_both_tables_are_written_in_three_forms(self, tmp_path: Path) -> None:
        frames = StudyFrames(results(), comparisons=compared(predictions(A=54, B=30)))
        written = write_more_tables(frames, tmp_path, subject="tiny")
        ends = (".csv", ".md", ".parquet")
        names = [f"{name}{end}" for name in ("comparisons", "checkpoints") for end in ends]
        assert [path.name for path in written] == names
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / "comparisons.parquet"), frames.comparisons
        )
        assert (tmp_path / "checkpoints.md").read_text().startswith("## tiny: Final and best")

    def test_what_there_is_not_is_not_written(self, tmp_path: Path) -> None:
        final = results().query("checkpoint == 'final'")
        assert write_more_tables(StudyFrames(final), tmp_path) == []
