"""Figures by what they draw: panels, titles, lines, heights; and the files they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protein_robust.losses import Loss, make_loss
from protein_robust.report import (
    method_comparison,
    training_dynamics,
    trust_and_emphasis,
    write_figures,
)
from protein_robust.report.figures import PALETTE, loss_styles
from protein_robust.report.frames import StudyFrames
from protein_robust.report.pictures import draw_pictures, label_histograms

RESULT_COLUMNS = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
PANELS = [
    "Correct fitting",
    "Wrong fitting",
    "Correction",
    "Entropy of clean subset",
    "Entropy of noisy subset",
    "Generalisation",
]


def history(noises: tuple[str, ...] = ("crop", "crop + symmetric 0.4")) -> pd.DataFrame:
    """Two losses, two seeds, three epochs; only the noisy setting has wrong labels."""
    rows = []
    for noise in noises:
        wrong = 0.1 if "symmetric" in noise else float("nan")
        for loss in ("SCE", "CE"):
            for seed in (0, 1):
                for epoch in (1, 2, 3):
                    rows.append(
                        {
                            "noise": noise,
                            "loss": loss,
                            "seed": seed,
                            "epoch": epoch,
                            "train/correct_fitting": 0.1 * epoch + 0.02 * seed,
                            "train/wrong_fitting": wrong,
                            "train/correction": wrong,
                            "train/clean_entropy": 0.5,
                            "train/noisy_entropy": wrong,
                            "test/accuracy": 0.2 * epoch,
                        }
                    )
    return pd.DataFrame(rows)


def results() -> pd.DataFrame:
    rows = [
        (noise, loss, seed, "final", "test", metric, 0.5 + 0.1 * seed)
        for noise in ("crop", "crop + symmetric 0.4")
        for loss in ("SCE", "CE")
        for seed in (0, 1)
        for metric in ("accuracy", "entropy_confidence", "max_probability")
    ]
    return pd.DataFrame(rows, columns=RESULT_COLUMNS)


class TestStyles:
    def test_each_loss_has_its_own_colour(self) -> None:
        styles = loss_styles(["b", "a", "b"])
        assert styles == {"b": (PALETTE[0], "-"), "a": (PALETTE[1], "-")}

    def test_more_losses_than_colours_are_dashed(self) -> None:
        names = [str(i) for i in range(20)]
        assert len(set(loss_styles(names).values())) == 20


@pytest.mark.slow
class TestTrainingDynamics:
    def test_label_noise_has_the_six_panels(self) -> None:
        figure = training_dynamics(history())["crop + symmetric 0.4"]
        assert [axis.get_title(loc="left") for axis in figure.axes] == PANELS

    def test_panels_of_wrong_labels_are_left_out_where_there_are_none(self) -> None:
        figure = training_dynamics(history())["crop"]
        assert [axis.get_title(loc="left") for axis in figure.axes] == [
            "Correct fitting",
            "Entropy of clean subset",
            "Generalisation",
        ]

    def test_line_is_the_mean_over_seeds_with_a_band(self) -> None:
        axis = training_dynamics(history())["crop"].axes[0]
        line = axis.get_lines()[0]
        assert line.get_label() == "SCE"
        np.testing.assert_allclose(line.get_ydata(), [0.11, 0.21, 0.31])
        assert len(axis.collections) == 2

    def test_accuracy_is_in_percent_and_entropy_is_not(self) -> None:
        axes = training_dynamics(history())["crop"].axes
        kinds = [type(axis.yaxis.get_major_formatter()).__name__ for axis in axes]
        assert kinds == ["PercentFormatter", "ScalarFormatter", "PercentFormatter"]

    def test_curves_connect_the_epochs_that_were_measured(self) -> None:
        frame = history().query("seed == 0")
        measured = [name for name in frame if "/" in name]
        frame.loc[frame["epoch"] == 2, measured] = float("nan")
        for axis in training_dynamics(frame)["crop"].axes:
            for line in axis.get_lines():
                assert line.get_xdata().tolist() == [1, 3]
                assert np.isfinite(line.get_ydata()).all()
            assert axis.get_xlim() == (0.5, 3.5)

    def test_one_seed_has_no_band(self) -> None:
        part = history().query("seed == 0")
        assert not training_dynamics(part)["crop"].axes[0].collections

    def test_legend_names_the_losses_in_order(self) -> None:
        [legend] = training_dynamics(history())["crop"].legends
        assert [text.get_text() for text in legend.get_texts()] == ["SCE", "CE"]

    def test_history_without_these_values_has_no_figure(self) -> None:
        frame = history()[["noise", "loss", "seed", "epoch"]]
        assert training_dynamics(frame) == {}

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `history` .*got none named epoch"):
            training_dynamics(history().drop(columns="epoch"))


@pytest.mark.slow
class TestMethodComparison:
    def test_bars_are_means_in_the_order_of_the_study(self) -> None:
        figure = method_comparison(results())
        assert figure is not None
        axis = figure.axes[0]
        assert axis.get_title(loc="left") == "Test accuracy"
        assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == [
            "crop",
            "crop + symmetric 0.4",
        ]
        assert [bar.get_height() for bar in axis.patches] == pytest.approx([0.55] * 4)
        assert len(figure.axes) == 3

    def test_calibration_stands_beside_confidence(self) -> None:
        extra = ("crop", "CE", 0, "final", "test", "expected_calibration_error", 0.1)
        frame = pd.concat([results(), pd.DataFrame([extra], columns=RESULT_COLUMNS)])
        figure = method_comparison(frame)
        assert figure is not None
        assert figure.axes[3].get_title(loc="left") == "Test calibration error (lower is better)"

    def test_without_test_values_there_is_none(self) -> None:
        assert method_comparison(results(), "best") is None


@pytest.mark.slow
class TestFiles:
    def test_every_figure_is_a_png_and_an_svg(self, tmp_path: Path) -> None:
        written = write_figures(results(), history(), tmp_path / "figures")
        names = [
            "protein_table",
            "method_comparison",
            "training_dynamics_crop",
            "training_dynamics_crop_symmetric_0.4",
        ]
        assert [p.name for p in written] == [f"{n}{end}" for n in names for end in (".png", ".svg")]
        assert all(p.read_bytes().startswith(b"\x89PNG") for p in written if p.suffix == ".png")
        assert all("<svg" in p.read_text() for p in written if p.suffix == ".svg")

    def test_settings_with_the_same_letters_keep_a_file_each(self, tmp_path: Path) -> None:
        written = write_figures(results(), history(("crop 1", "crop-1")), tmp_path)
        names = [path.stem for path in written if path.suffix == ".png"]
        assert names[2:] == ["training_dynamics_crop_1", "training_dynamics_crop_1_2"]

    def test_same_values_give_the_same_bytes(self, tmp_path: Path) -> None:
        first = write_figures(results(), history(), tmp_path / "a")
        second = write_figures(results(), history(), tmp_path / "b")
        assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]

    def test_what_losses_say_and_their_shapes_are_drawn_where_there_is_something(
        self, tmp_path: Path
    ) -> None:
        noise = "crop + symmetric 0.4"
        frame = with_described(history((noise,)))
        losses: dict[str, Loss] = {"SCE": make_loss("symmetric_cross_entropy")}
        written = write_figures(results(), frame, tmp_path, losses=losses)
        names = [path.stem for path in written if path.suffix == ".png"]
        assert names[3:] == [
            "label_probability_crop_symmetric_0.4",
            "trust_and_emphasis_crop_symmetric_0.4",
            "loss_shapes",
        ]

    def test_histograms_are_those_of_the_last_measured_epoch(self) -> None:
        frame = with_described(history(("wrong",))).query("seed == 0")
        named = ["train/clean_histogram", "train/noisy_histogram"]
        for name in named:
            frame[name] = [[float(epoch), 1.0] for epoch in frame["epoch"]]
        frame.loc[frame["epoch"] == 3, named] = None
        figure = label_histograms(frame)["wrong"]
        assert figure.get_suptitle().startswith("wrong: training labels, after the last epoch")
        assert [axis.get_title(loc="left") for axis in figure.axes] == ["SCE", "CE"]
        for axis in figure.axes:
            # Of epoch 2: two of three below one half.
            shares = axis.patches[0].get_data().values
            assert shares[shares > 0].tolist() == pytest.approx([2 / 3, 1 / 3])

    def test_a_loss_without_results_changes_no_colour(self) -> None:
        losses = {
            "new": make_loss("cross_entropy"),
            "CE": make_loss("cross_entropy"),
            "SCE": make_loss("symmetric_cross_entropy"),
        }
        figure = draw_pictures(StudyFrames(results()), losses)["loss_shapes"].figure
        found = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
        assert found == {"SCE": PALETTE[0], "CE": PALETTE[1], "new": PALETTE[2]}

    def test_losses_that_have_no_shape_alone_are_not_drawn(self, tmp_path: Path) -> None:
        losses: dict[str, Loss] = {"KD": make_loss("distillation")}
        written = write_figures(results(), history(), tmp_path, losses=losses)
        assert "loss_shapes" not in {path.stem for path in written}


def with_described(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with the trust of one loss, and histograms of two bins."""
    frame = frame.copy()
    frame["train/trust"] = np.where(frame["loss"] == "CE", 0.1 * frame["epoch"], np.nan)
    for name in ("clean", "noisy"):
        frame[f"train/{name}_histogram"] = [[3.0, 1.0]] * len(frame)
    return frame


@pytest.mark.slow
class TestTrustAndEmphasis:
    def test_only_losses_that_have_it_are_drawn_and_named(self) -> None:
        figure = trust_and_emphasis(with_described(history()))["crop"]
        (axis,) = figure.axes
        assert axis.get_title(loc="left") == "Trust in the prediction"
        (line,) = axis.get_lines()
        assert list(line.get_ydata()) == pytest.approx([0.1, 0.2, 0.3])
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["CE"]

    def test_without_such_values_there_is_none(self) -> None:
        assert trust_and_emphasis(history()) == {}
