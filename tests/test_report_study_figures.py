"""Figures of evaluation by what they draw: heights, places, titles; and what they leave out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from protein_robust.report.calibration_figures import (
    count_steps,
    error_of_bins,
    mean_risk,
    pooled_bins,
    reliability_diagrams,
    risk_coverage_curves,
)
from protein_robust.report.confusion import confuse, confused_pairs
from protein_robust.report.confusion_figures import NUM_CLANS, clan_confusion
from protein_robust.report.group_figures import accuracy_by_group
from protein_robust.report.rendering import display_frame
from protein_robust.report.robustness_figures import (
    robustness_by_kept_fraction,
    robustness_by_rate,
)
from protein_robust.report.styles import HATCHES, MARKERS, line_look, loss_hatches, loss_styles
from protein_robust.report.table_figure import LOSSES_IN_A_BLOCK, protein_table_figure
from protein_robust.report.tables import talk_table
from protein_robust.report.unknown_figures import unknown_detection

RESULT_COLUMNS = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
pytestmark = pytest.mark.slow


def results(losses: tuple[str, ...] = ("SCE", "CE"), baseline: bool = False) -> pd.DataFrame:
    """Accuracy falls by the rate, less for the second loss; one seed is 0.02 above the other."""
    rows = [
        (noise, loss, seed, "final", data, metric, 0.9 - rate * (0.5 + 0.1 * place) + 0.02 * seed)
        for noise, rate in (("clean", 0.0), ("low", 0.2), ("high", 0.4))
        for place, loss in enumerate(losses)
        for seed in (0, 1)
        for data in ("test", "train")
        for metric in ("accuracy", "entropy_confidence", "max_probability")
    ]
    if baseline:
        rows += [
            (noise, "HMM", 0, "final", "test", "accuracy", 0.95)
            for noise in ("clean", "low", "high")
        ]
    return pd.DataFrame(rows, columns=RESULT_COLUMNS)


RATES = pd.DataFrame(
    {"noise": ["clean", "low", "high"], "group": "symmetric", "label_rate": [0.0, 0.2, 0.4]}
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for made in figure.legends for text in made.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes]


def note(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def means(axis: Axes) -> list[np.ndarray]:
    """Heights of the lines with error bars, one array for each loss."""
    return [np.asarray(made[0].get_ydata()) for made in axis.containers]


class TestStyles:
    def test_twenty_five_losses_differ_without_their_colours(self) -> None:
        styles = loss_styles([str(number) for number in range(25)])
        looks = [line_look(styles, loss) for loss in styles]
        assert len({(look["linestyle"], look["marker"]) for look in looks}) == 25

    def test_hatches_go_round(self) -> None:
        styles = loss_styles([str(number) for number in range(len(HATCHES) + 1)])
        made = list(loss_hatches(styles).values())
        assert made[: len(HATCHES)] == list(HATCHES)
        assert made[-1] == HATCHES[0]
        assert len(set(MARKERS)) == len(MARKERS)


class TestTable:
    def test_cells_are_the_text_of_the_table(self) -> None:
        figure = protein_table_figure(results())
        assert figure is not None
        frame = display_frame(talk_table(results()))
        shown = texts(figure)
        assert all(cell in shown for loss in ("SCE", "CE") for cell in frame[loss])
        assert [text for text in shown if text in ("clean", "low", "high")] == [
            "clean", "low", "high",
        ]  # fmt: skip

    def test_the_best_of_a_row_is_bold(self) -> None:
        figure = protein_table_figure(results())
        assert figure is not None
        bold = [t.get_text() for t in figure.axes[0].texts if t.get_weight() == "bold"]
        # Of 0.4 wrong labels: 0.9 - 0.2 + 0.01 = 71.0, against 67.0 of the second loss.
        assert "71.0 ± 1.4" in bold
        assert "67.0 ± 1.4" not in bold

    @pytest.mark.parametrize(("number", "blocks"), [(2, 1), (9, 1), (10, 2), (25, 3)])
    def test_many_losses_go_into_blocks(self, number: int, blocks: int) -> None:
        losses = tuple(f"loss {place}" for place in range(number))
        figure = protein_table_figure(results(losses))
        assert figure is not None
        assert texts(figure).count("accuracy, test") == blocks * 3  # noise settings
        assert LOSSES_IN_A_BLOCK == 9

    def test_a_baseline_without_confidence_has_dashes(self) -> None:
        figure = protein_table_figure(results(baseline=True))
        assert figure is not None
        # Of six rows a setting it has one value.
        assert texts(figure).count("\N{EN DASH}") == 3 * 5

    def test_without_values_there_is_none(self) -> None:
        assert protein_table_figure(results().assign(checkpoint="best")) is None


class TestRobustness:
    def test_points_are_means_over_seeds_at_their_rates(self) -> None:
        figure = robustness_by_rate(results(), RATES)["symmetric"]
        accuracy = figure.axes[0]
        first, second = means(accuracy)
        assert first.tolist() == pytest.approx([0.91, 0.81, 0.71])
        assert second.tolist() == pytest.approx([0.91, 0.79, 0.67])
        places = np.asarray(accuracy.containers[0][0].get_xdata())
        assert places.tolist() == pytest.approx([0.0, 0.2, 0.4], abs=0.01)

    @pytest.mark.parametrize("kind", ["train", "test_whole"])
    def test_crops_are_named_where_whole_test_data_are_measured_too(self, kind: str) -> None:
        frame = results().replace({"data": {"train": kind}})
        said = note(robustness_by_rate(frame, RATES)["symmetric"])
        assert ("cropped like the training data" in said) == (kind == "test_whole")

    def test_panels_are_those_with_values(self) -> None:
        figure = robustness_by_rate(results(), RATES)["symmetric"]
        names = [axis.get_ylabel() for axis in figure.axes]
        assert names == ["test accuracy", "mean 1 - H(p)/H(u)", "mean max p"]
        assert {axis.get_xlabel() for axis in figure.axes} == {"share of wrong training labels"}

    def test_a_baseline_is_in_the_panel_of_what_it_has(self) -> None:
        figure = robustness_by_rate(results(baseline=True), RATES)["symmetric"]
        assert [len(axis.containers) for axis in figure.axes] == [3, 2, 2]
        assert legend(figure) == ["SCE", "CE", "HMM"]

    def test_one_rate_makes_no_curve(self) -> None:
        assert robustness_by_rate(results(), RATES.iloc[:1]) == {}

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `rates` .*got none named group"):
            robustness_by_rate(results(), RATES.drop(columns="group"))

    def test_kept_fractions_fall_from_left_to_right(self) -> None:
        frame = kept_fractions()
        figure = robustness_by_kept_fraction(frame)["crop"]
        left, right = figure.axes[0].get_xlim()
        assert left > right
        [heights] = means(figure.axes[0])
        assert heights.tolist() == pytest.approx([0.4, 0.8])  # at 0.5 and 1.0
        assert titles(figure) == ["Accuracy"]

    def test_one_fraction_makes_no_curve(self) -> None:
        frame = kept_fractions()
        assert robustness_by_kept_fraction(frame[frame["kept_fraction"] == 1]) == {}


def kept_fractions() -> pd.DataFrame:
    rows = [("crop", "CE", 0, 1.0, 0.8), ("crop", "CE", 0, 0.5, 0.4)]
    return pd.DataFrame(rows, columns=["noise", "loss", "seed", "kept_fraction", "accuracy"])


def reliability() -> pd.DataFrame:
    """Two bins of two seeds; 30 of 40 predictions in the upper one; an empty bin between."""
    rows = []
    for seed, accuracy in ((0, 0.6), (1, 0.8)):
        for is_calibrated, shift in ((False, 0.1), (True, 0.0)):
            rows += [
                (seed, is_calibrated, 0, 0.0, 0.25, 10, 0.2, 0.2),
                (seed, is_calibrated, 1, 0.25, 0.5, 0, float("nan"), float("nan")),
                (seed, is_calibrated, 2, 0.5, 0.75, 30, accuracy - shift, accuracy),
            ]
    names = ["seed", "is_calibrated", "place", "low", "high", "num_examples", "confidence"]
    frame = pd.DataFrame(rows, columns=[*names, "accuracy"])
    fixed = {"noise": "crop", "loss": "CE", "checkpoint": "final", "data": "test"}
    return frame.assign(**fixed, binning="equal_width")


class TestReliability:
    def test_bins_of_seeds_are_weighted_by_their_numbers(self) -> None:
        frame = reliability().query("is_calibrated and num_examples > 0")
        made = pooled_bins(frame)
        assert made["num_examples"].tolist() == [20, 60]
        assert made["accuracy"].tolist() == pytest.approx([0.2, 0.7])

    def test_error_is_the_mean_over_seeds(self) -> None:
        frame = reliability().query("not is_calibrated and num_examples > 0")
        # In each seed 30 of 40 predictions are 0.1 off.
        assert error_of_bins(frame) == pytest.approx(0.075)

    def test_title_has_the_error_before_and_after(self) -> None:
        figure = reliability_diagrams(reliability())["crop"]
        assert titles(figure)[0] == "CE\nECE 7.5 \N{RIGHTWARDS ARROW} 0.0 %"
        assert legend(figure) == ["as trained", "after temperature scaling"]

    def test_line_is_accuracy_over_confidence(self) -> None:
        axis = reliability_diagrams(reliability())["crop"].axes[0]
        lines = {line.get_label(): line for line in axis.get_lines()}
        line = lines["as trained"]
        assert np.asarray(line.get_xdata()).tolist() == pytest.approx([0.2, 0.6])
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx([0.2, 0.7])

    def test_small_bins_are_marks_without_a_line(self) -> None:
        frame = reliability()
        frame["num_examples"] = frame["num_examples"].replace(10, 3)
        axis = reliability_diagrams(frame)["crop"].axes[0]
        lines = {line.get_label(): line for line in axis.get_lines()}
        assert len(lines["as trained"].get_xdata()) == 1
        assert sum(line.get_linestyle() == "None" for line in axis.get_lines()) == 2

    def test_missing_bins_hold_nothing(self) -> None:
        frame = reliability().query("is_calibrated and num_examples > 0")
        counts, edges = count_steps(pooled_bins(frame))
        assert counts.tolist() == [20, 0, 60]
        assert edges.tolist() == [0, 0.25, 0.5, 0.75]

    def test_other_data_and_networks_are_left_out(self) -> None:
        assert reliability_diagrams(reliability().assign(data="valid")) == {}
        assert reliability_diagrams(reliability().assign(checkpoint="best")) == {}

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `reliability` .*got none named binning"):
            reliability_diagrams(reliability().drop(columns="binning"))


def risk_coverage() -> pd.DataFrame:
    rows = [
        (seed, coverage, risk * (1 + seed))
        for seed in (0, 1)
        for coverage, risk in ((0.5, 0.0), (1.0, 0.1))
    ]
    frame = pd.DataFrame(rows, columns=["seed", "coverage", "risk"])
    return frame.assign(noise="crop", loss="CE", checkpoint="final", data="test")


class TestRiskCoverage:
    def test_risk_is_the_mean_over_seeds_at_the_same_coverage(self) -> None:
        coverage, risk = mean_risk(risk_coverage())
        assert (coverage[0], coverage[-1]) == (0.5, 1.0)
        # Straight lines to 0.1 and 0.2: their mean ends at 0.15 and is 0.075 half way.
        assert risk[-1] == pytest.approx(0.15)
        assert np.interp(0.75, coverage, risk) == pytest.approx(0.075)

    def test_one_seed_is_drawn_as_it_is(self) -> None:
        figure = risk_coverage_curves(risk_coverage().query("seed == 0"))["crop"]
        [line] = figure.axes[0].get_lines()
        assert np.asarray(line.get_xdata()).tolist() == [0.5, 1.0]
        assert np.asarray(line.get_ydata()).tolist() == [0.0, 0.1]

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `risk_coverage` .*none named risk"):
            risk_coverage_curves(risk_coverage().drop(columns="risk"))


def groups() -> pd.DataFrame:
    rows = [
        ("crop", loss, 0, by, group, place, number, accuracy, accuracy - 0.1, accuracy + 0.05)
        for loss, accuracy in (("SCE", 0.8), ("CE", 0.6))
        for by, group, place, number in (
            ("family_size", "<= 10", 0, 12),
            ("family_size", "> 200", 3, 40),
            ("length", "<= 50", 0, 52),
        )
    ]
    names = ["noise", "loss", "seed", "group_by", "group", "place", "num_examples", "accuracy"]
    frame = pd.DataFrame(rows, columns=[*names, "accuracy_low", "accuracy_high"])
    return frame.assign(checkpoint="final", data="test")


class TestGroups:
    def test_one_group_makes_no_panel(self) -> None:
        figure = accuracy_by_group(groups())["crop"]
        assert titles(figure) == ["By size of the class"]
        ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
        assert ticks == ["<= 10\nn = 12", "> 200\nn = 40"]

    def test_bars_are_the_intervals(self) -> None:
        axis = accuracy_by_group(groups())["crop"].axes[0]
        assert means(axis)[0].tolist() == [0.8, 0.8]
        [bars] = axis.containers[0][2]
        ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
        assert ends[0] == pytest.approx([0.7, 0.85])

    def test_whole_sequences_have_no_figure(self) -> None:
        assert accuracy_by_group(groups().query("group_by == 'length'")) == {}

    def test_many_losses_stand_below_each_other(self) -> None:
        frame = pd.concat([groups().assign(loss=str(number)) for number in range(9)])
        second = frame.assign(group_by="kept_fraction")
        figure = accuracy_by_group(pd.concat([frame, second]))["crop"]
        assert figure.axes[0].get_position().x0 == figure.axes[1].get_position().x0

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `groups` .*got none named place"):
            accuracy_by_group(groups().drop(columns="place"))


def unknown() -> pd.DataFrame:
    rows = [
        ("crop", "CE", seed, kind, score, 30, value + 0.02 * seed)
        for seed in (0, 1)
        for kind, score, value in (
            ("held-out families", "energy", 0.8),
            ("held-out families", "max_probability", 0.4),
            ("shuffled", "energy", 0.9),
        )
    ]
    names = ["noise", "loss", "seed", "kind", "score", "num_unknown", "auroc"]
    return pd.DataFrame(rows, columns=names)


class TestUnknown:
    def test_bars_begin_at_chance_and_end_at_the_mean(self) -> None:
        figure = unknown_detection(unknown())["crop"]
        bars = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_height")]
        assert [bar.get_y() for bar in bars] == [0.5, 0.5]
        ends = [bar.get_y() + bar.get_height() for bar in bars]
        assert ends == pytest.approx([0.81, 0.41])

    def test_kinds_are_panels_with_their_numbers(self) -> None:
        figure = unknown_detection(unknown())["crop"]
        assert titles(figure) == ["Held-out families (n = 30)", "Shuffled (n = 30)"]

    def test_without_values_there_is_none(self) -> None:
        assert unknown_detection(unknown().assign(auroc=float("nan"))) == {}

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `unknown` .*got none named kind"):
            unknown_detection(unknown().drop(columns="kind"))


CLANS = {"PF1": "CL1", "PF2": "CL1", "PF3": "CL2", "PF4": None}


def predictions() -> pd.DataFrame:
    """Of CE: one error within CL1, two between CL1 and CL2 and one with a family of no clan."""
    pairs = [
        ("PF1", "PF1"), ("PF1", "PF2"), ("PF2", "PF3"), ("PF3", "PF1"), ("PF4", "PF3"),
        ("PF4", "PF4"),
    ]  # fmt: skip
    rows = [("crop", "CE", *pair) for pair in pairs]
    rows += [("crop", "SCE", true, true) for true, _ in pairs]
    return pd.DataFrame(rows, columns=["noise", "loss", "clean_label", "prediction"])


class TestConfusion:
    def test_hand_counts(self) -> None:
        made = confuse(predictions().query("loss == 'CE'"), CLANS)
        assert made.clans == ["CL1", "CL2", "PF4"]
        assert (made.num_within, made.num_between, made.num_predictions) == (1, 3, 6)
        assert made.totals.tolist() == [3, 1, 2]
        assert confused_pairs(made) == [("CL1", "CL2", 2), ("CL2", "PF4", 1)]

    def test_counts_are_those_of_a_square_matrix(self) -> None:
        rng = np.random.default_rng(0)
        names = np.array([f"PF{number:03}" for number in range(60)])
        frame = pd.DataFrame(rng.choice(names, (900, 2)), columns=["clean_label", "prediction"])
        made = confuse(frame, {name: f"CL{name[-1]}" for name in names})
        expected = pd.crosstab(frame["clean_label"].str[-1], frame["prediction"].str[-1])
        square = np.zeros((10, 10), np.int64)
        square[made.true, made.predicted] = made.numbers
        off = expected.to_numpy().copy()
        np.fill_diagonal(off, 0)
        np.testing.assert_array_equal(square, off)

    @pytest.mark.parametrize("missing", [None, float("nan"), pd.NA], ids=["None", "NaN", "NA"])
    def test_a_missing_prediction_is_an_error_between_clans(self, missing: object) -> None:
        frame = predictions().query("loss == 'CE'").astype(object)
        frame.loc[frame["prediction"] == "PF2", "prediction"] = missing
        made = confuse(frame, CLANS)
        assert (made.num_within, made.num_between) == (0, 4)
        assert ("CL1", "no answer", 1) in confused_pairs(made)

    def test_the_method_best_on_validation_is_shown(self) -> None:
        accuracy = {("crop", "SCE"): 0.5, ("crop", "CE"): 0.6}
        figure = clan_confusion(predictions(), CLANS, accuracy)["crop"]
        assert "CE, the method with the highest validation accuracy; 4 of 6" in note(figure)

    def test_without_validation_values_none_is_called_best(self) -> None:
        figure = clan_confusion(predictions(), CLANS, {})["crop"]
        assert "Left and top: CE; 4 of 6" in note(figure)

    def test_matrix_holds_the_shares_of_each_true_clan(self) -> None:
        figure = clan_confusion(predictions(), CLANS, {})["crop"]
        [image] = figure.axes[0].get_images()
        shares = np.ma.filled(image.get_array(), np.nan)
        expected = [[np.nan, 1 / 3, 0], [1, np.nan, 0], [0, 1 / 2, np.nan]]
        np.testing.assert_allclose(shares, expected)

    def test_clans_left_out_are_counted(self) -> None:
        names = [f"PF{number:02}" for number in range(30)]
        rows = [("crop", "CE", name, names[place - 1]) for place, name in enumerate(names)]
        frame = pd.DataFrame(rows, columns=["noise", "loss", "clean_label", "prediction"])
        figure = clan_confusion(frame, {}, {})["crop"]
        assert f"confused pairs; {30 - NUM_CLANS} of 30 are left out." in note(figure)
        assert len(figure.axes[0].get_yticks()) == NUM_CLANS

    def test_errors_of_all_methods_are_stacked(self) -> None:
        figure = clan_confusion(predictions(), CLANS, {}, ["SCE", "CE"])["crop"]
        [axis] = [a for a in figure.axes if a.get_title(loc="left") == "All methods"]
        within, between = axis.containers[:2]
        assert [bar.get_width() for bar in within] == pytest.approx([0, 1 / 6])
        assert [bar.get_width() for bar in between] == pytest.approx([0, 1 / 2])
        assert [tick.get_text() for tick in axis.get_yticklabels()] == ["SCE", "CE"]

    def test_without_clans_classes_are_confused_and_errors_are_of_one_kind(self) -> None:
        figure = clan_confusion(predictions(), {}, {})["crop"]
        assert titles(figure)[0] == "Errors between classes (numbers: predictions)"
        assert figure.axes[0].get_xlabel() == "predicted class"
        [axis] = [a for a in figure.axes if a.get_title(loc="left") == "All methods"]
        assert axis.get_legend() is None
        [bars] = axis.containers
        assert [bar.get_width() for bar in bars] == pytest.approx([4 / 6, 0])  # of CE and SCE

    def test_without_an_error_there_is_none(self) -> None:
        assert clan_confusion(predictions().query("loss == 'SCE'"), CLANS, {}) == {}

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `predictions` .*none named prediction"):
            clan_confusion(predictions().drop(columns="prediction"), CLANS, {})
