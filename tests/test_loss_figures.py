"""What the losses do to the gradient: the numbers, and the figures by what they draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.losses import (
    BootstrapHard,
    CrossEntropy,
    LabelSmoothing,
    Loss,
    LossContext,
    ProSelfLC,
    closed_form,
    make_loss,
)
from protein_robust.losses.emphasis import Beta, General
from protein_robust.losses.label_probability import (
    GeneralizedCrossEntropy,
    MeanAbsoluteError,
    MeanSquaredError,
)
from protein_robust.report.loss_curves import logits_at, loss_curves, loss_gradients, needs_more
from protein_robust.report.loss_figures import (
    FACTOR_LIMITS,
    emphasis_densities,
    label_probability_histogram,
    loss_shapes,
    trust_over_time,
)


@dataclass(frozen=True)
class Weighted:
    """Pulls with w = 1 + p_y, times a constant that a batch would divide away."""

    constant: float = 1.0
    batch_weighted: ClassVar[bool] = True

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        def rule(rows: Any) -> Tensor:
            label_probs = (-rows.cross_entropy).exp()
            rows.scale(self.constant * (1 + label_probs) / (2 * (1 - label_probs)))
            value: Tensor = rows.cross_entropy
            return value

        return closed_form(logits, labels, rule)

    def example_weights(self, values: Tensor) -> Tensor | None:
        return self.constant * (1 + (-values).exp())


class Remembering(CrossEntropy):
    """Cross entropy that asks for a memory."""

    def new_memory(
        self, num_examples: int, num_classes: int, device: torch.device
    ) -> dict[str, Tensor]:
        return {"seen": torch.zeros(num_examples, device=device)}


class Taught(CrossEntropy):
    """Cross entropy that asks for a teacher."""

    teacher: ClassVar[str] = "network"


def columns_of(loss: Loss, **settings: Any) -> Mapping[str, NDArray[np.float64]]:
    frame = loss_curves({"it": loss}, **settings)
    return {name: frame[name].to_numpy() for name in frame.columns}


class TestLossGradients:
    def test_the_worked_example_of_cross_entropy(self) -> None:
        logits = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
        values, gradients = loss_gradients(CrossEntropy(), logits, torch.tensor([0]))
        np.testing.assert_allclose(values, [0.693147], atol=1e-6)
        np.testing.assert_allclose(gradients, [[-0.5, 1 / 3, 1 / 6]], atol=1e-12)

    def test_rows_are_not_divided_by_their_number(self) -> None:
        logits = torch.tensor([[0.0, 0.0]] * 5)
        _, gradients = loss_gradients(CrossEntropy(), logits, torch.zeros(5, dtype=torch.int64))
        np.testing.assert_allclose(gradients, [[-0.5, 0.5]] * 5)

    def test_progress_reaches_the_loss(self) -> None:
        # The second worked example of ProSelfLC (G1): p as above, label 2, B = 16, t = 0.75.
        logits = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
        loss = ProSelfLC(exp_base=16)
        values, gradients = loss_gradients(loss, logits, torch.tensor([2]), progress=0.75)
        np.testing.assert_allclose(values, [1.730929], atol=1e-6)
        np.testing.assert_allclose(gradients, [[0.448619, 0.309615, -0.758235]], atol=1e-6)


class TestLossCurves:
    def test_points_are_middles_of_equal_parts(self) -> None:
        points = columns_of(CrossEntropy(), num_points=4)["label_probability"]
        np.testing.assert_allclose(points, [0.125, 0.375, 0.625, 0.875])

    @pytest.mark.parametrize("num_classes", [2, 10, 1000])
    def test_cross_entropy_pulls_with_twice_what_is_missing(self, num_classes: int) -> None:
        curve = columns_of(CrossEntropy(), num_classes=num_classes)
        points = curve["label_probability"]
        np.testing.assert_allclose(curve["value"], -np.log(points))
        np.testing.assert_allclose(curve["magnitude"], 2 * (1 - points))
        np.testing.assert_allclose(curve["factor"], 1.0)
        assert not curve["is_scaled"].any()

    def test_mean_absolute_error_pulls_hardest_in_the_middle(self) -> None:
        curve = columns_of(MeanAbsoluteError())
        points = curve["label_probability"]
        np.testing.assert_allclose(curve["magnitude"], 2 * points * (1 - points))
        np.testing.assert_allclose(curve["factor"], points)

    @pytest.mark.parametrize(
        ("loss", "mode"),
        [
            (CrossEntropy(), 0.0),
            (MeanAbsoluteError(), 1 / 2),
            (MeanSquaredError(), 1 / 3),
            (GeneralizedCrossEntropy(q=0.7), 0.7 / 1.7),
        ],
        ids=["CCE", "MAE", "MSE", "GCE"],
    )
    def test_modes_of_the_common_losses(self, loss: Loss, mode: float) -> None:
        curve = columns_of(loss, num_points=1000)
        highest = curve["label_probability"][curve["magnitude"].argmax()]
        assert highest == pytest.approx(mode, abs=1e-3)

    @pytest.mark.parametrize(
        ("loss", "area"),
        [
            (CrossEntropy(), 1.0),
            (MeanAbsoluteError(), 1 / 3),
            (MeanSquaredError(), 1 / 3),
            (GeneralizedCrossEntropy(q=0.7), 2 / (1.7 * 2.7)),
        ],
        ids=["CCE", "MAE", "MSE", "GCE"],
    )
    def test_the_mean_of_the_magnitude_is_its_integral(self, loss: Loss, area: float) -> None:
        assert columns_of(loss)["magnitude"].mean() == pytest.approx(area, rel=1e-4)

    @pytest.mark.parametrize("constant", [1.0, 1e-6])
    def test_a_loss_that_normalises_by_the_batch_is_scaled_to_area_one(
        self, constant: float
    ) -> None:
        curve = columns_of(Weighted(constant))
        points = curve["label_probability"]
        np.testing.assert_allclose(curve["magnitude"], (1 + points) / 1.5)
        assert curve["is_scaled"].all()

    def test_derivative_manipulation_follows_its_density(self) -> None:
        curve = columns_of(make_loss("derivative_manipulation", beta=16.0))
        points = curve["label_probability"]
        # 24.080006 is the integral of exp(16 p (1 - p)).
        expected = np.exp(16 * points * (1 - points)) / 24.080006
        np.testing.assert_allclose(curve["magnitude"], expected, rtol=1e-4)
        np.testing.assert_allclose(curve["value"], -np.log(points), rtol=1e-6)

    def test_the_factor_is_negative_where_the_label_is_pushed_down(self) -> None:
        # Label smoothing of 0.2 over 10 classes wants p_y = 0.82.
        curve = columns_of(LabelSmoothing(epsilon=0.2))
        is_above = curve["label_probability"] > 0.82
        assert (curve["factor"][is_above] < 0).all()
        assert (curve["factor"][~is_above] > 0).all()

    def test_boot_hard_knows_the_predicted_class(self) -> None:
        # Below 1/K another class is predicted: the label then gets 1 - eps of the target only.
        curve = columns_of(BootstrapHard(epsilon=0.5), num_classes=2)
        points = curve["label_probability"]
        expected = np.where(points < 0.5, 2 * np.abs(points - 0.5), 2 * (1 - points))
        np.testing.assert_allclose(curve["magnitude"], expected, atol=1e-12)

    def test_proselflc_is_cross_entropy_before_the_training(self) -> None:
        loss = ProSelfLC(exp_base=1000)
        np.testing.assert_allclose(columns_of(loss, progress=0.0)["factor"], 1.0)
        assert not np.allclose(columns_of(loss, progress=1.0)["factor"], 1.0)

    @pytest.mark.parametrize("loss", [Remembering(), Taught()], ids=["memory", "teacher"])
    def test_a_loss_that_needs_more_is_left_out(self, loss: Loss) -> None:
        assert needs_more(loss)
        frame = loss_curves({"it": loss, "CCE": CrossEntropy()})
        assert set(frame["loss"]) == {"CCE"}

    def test_nothing_to_draw_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `losses` .*got remembering"):
            loss_curves({"remembering": Remembering()})
        with pytest.raises(ValueError, match="got none"):
            loss_curves({})

    def test_logits_have_the_probability_that_was_asked_for(self) -> None:
        probs = logits_at(np.array([0.1, 0.7]), 4).softmax(dim=1)
        np.testing.assert_allclose(probs, [[0.1, 0.3, 0.3, 0.3], [0.7, 0.1, 0.1, 0.1]])


class TestLossShapes:
    def test_three_panels_with_a_line_for_each_loss(self) -> None:
        figure = loss_shapes({"CCE": CrossEntropy(), "MAE": MeanAbsoluteError()})
        assert [axis.get_title(loc="left") for axis in figure.axes] == [
            "Loss",
            "Derivative magnitude",
            "Weight of the direction $p - q$",
        ]
        assert [len(axis.get_lines()) for axis in figure.axes] == [2, 2, 2]
        [legend] = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["CCE", "MAE"]

    def test_lines_are_the_numbers(self) -> None:
        losses = {"CCE": CrossEntropy(), "MAE": MeanAbsoluteError()}
        curves = loss_curves(losses, num_classes=5, progress=0.2).query("loss == 'MAE'")
        axes = loss_shapes(losses, num_classes=5, progress=0.2).axes
        for axis, column in zip(axes, ("value", "magnitude", "factor"), strict=True):
            np.testing.assert_allclose(axis.get_lines()[1].get_ydata(), curves[column])

    def test_what_was_scaled_or_left_out_is_said(self) -> None:
        figure = loss_shapes({"W": Weighted(), "ELR": Remembering()}, num_classes=5)
        caption = figure.get_suptitle().splitlines()
        assert caption == [
            "5 classes, the rest spread evenly; progress 0.5 of the training.",
            "* divided by a sum over the batch: scaled to area 1 in the middle panel.",
            "Left out, as they need a memory or a teacher: ELR.",
        ]
        [legend] = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["W *"]

    def test_the_axis_of_the_factor_is_cut_where_it_is_infinite(self) -> None:
        figure = loss_shapes({"W": Weighted(), "LS": LabelSmoothing(epsilon=0.5)})
        low, high = figure.axes[2].get_ylim()
        assert (low, high) == pytest.approx((FACTOR_LIMITS[0] - 0.1, FACTOR_LIMITS[1] + 0.1))


class TestEmphasisDensities:
    def test_lines_have_area_one_and_a_dot_at_the_mode(self) -> None:
        axis = emphasis_densities({"DM": General(lam=0.5, beta=12)}, num_points=1000).axes[0]
        line, dot = axis.get_lines()
        assert np.mean(line.get_ydata()) == pytest.approx(1.0, rel=1e-4)
        assert list(dot.get_xdata()) == pytest.approx([1 / 3])
        # 101.372531 is w(1/3), 44.363448 the integral.
        assert list(dot.get_ydata()) == pytest.approx([101.372531 / 44.363448])

    def test_the_mode_at_zero_is_drawn(self) -> None:
        axis = emphasis_densities({"CCE": Beta(alpha=1, eta=2)}).axes[0]
        dot = axis.get_lines()[1]
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([0.0], pytest.approx([2.0]))

    def test_the_legend_has_mode_and_variance(self) -> None:
        figure = emphasis_densities({"CCE": Beta(alpha=1, eta=2), "MAE": Beta(alpha=2, eta=2)})
        [legend] = figure.legends
        # MAE: w = 6 p (1 - p), so E w^2 = 36 / 30 and the variance is 0.2.
        assert [text.get_text() for text in legend.get_texts()] == [
            "CCE: mode 0, variance 0.333",
            "MAE: mode 0.5, variance 0.2",
        ]


class TestTrustOverTime:
    def test_panels_and_their_numbers(self) -> None:
        loss = ProSelfLC(exp_base=16)
        in_model, local, over_time = trust_over_time(loss, confidences=(0.5, 0.9)).axes
        [line] = in_model.get_lines()
        at = {0.0: 0.000335, 0.25: 0.017986, 0.5: 0.5, 0.75: 0.982014, 1.0: 0.999665}
        drawn = np.interp(list(at), line.get_xdata(), line.get_ydata())
        np.testing.assert_allclose(drawn, list(at.values()), atol=1e-6)
        labels = [line.get_label() for line in local.get_lines()]
        assert labels == ["2 classes", "10 classes"]
        assert [line.get_label() for line in over_time.get_lines()] == [
            "max p = 0.5",
            "max p = 0.9",
        ]
        # 1 - H / ln 10 of p = (0.5, 9 times 0.5 / 9), by hand; g(1) = 0.999665
        entropy = -0.5 * np.log(0.5) - 0.5 * np.log(0.5 / 9)
        last = over_time.get_lines()[0].get_ydata()[-1]
        assert last == pytest.approx(0.999665 * (1 - entropy / np.log(10)), abs=1e-5)

    def test_local_trust_goes_from_none_to_all(self) -> None:
        local = trust_over_time(ProSelfLC()).axes[1]
        for line in local.get_lines():
            assert list(line.get_ydata()[[0, -1]]) == pytest.approx([0, 1], abs=1e-6)

    def test_two_classes_are_drawn_once(self) -> None:
        local = trust_over_time(ProSelfLC(), num_classes=2, confidences=(0.5,)).axes[1]
        assert len(local.get_lines()) == 1

    @pytest.mark.parametrize("confidence", [0.05, 1.0])
    def test_a_confidence_out_of_range_is_an_error(self, confidence: float) -> None:
        with pytest.raises(ValueError, match=r"Expected `confidences` in \[1/10, 1\), got"):
            trust_over_time(ProSelfLC(), confidences=(0.5, confidence))


def label_probabilities() -> pd.DataFrame:
    """Two losses; three right labels and two wrong ones each."""
    rows = [
        (loss, is_corrupted, value)
        for loss in ("DM", "CCE")
        for is_corrupted, value in ((False, 0.99), (False, 1.0), (False, 0.6), (True, 0), (True, 1))
    ]
    return pd.DataFrame(rows, columns=["loss", "is_corrupted", "label_probability"])


class TestLabelProbabilityHistogram:
    def test_a_panel_for_each_loss_in_order(self) -> None:
        axes = label_probability_histogram(label_probabilities()).axes
        assert [axis.get_title(loc="left") for axis in axes] == ["DM", "CCE"]
        assert axes[0].get_ylim() == axes[1].get_ylim()

    def test_heights_are_shares_of_right_and_of_wrong_labels(self) -> None:
        figure = label_probability_histogram(label_probabilities(), num_bins=4)
        right, _, wrong, _ = figure.axes[0].patches
        assert list(right.get_data().values) == pytest.approx([0, 0, 1 / 3, 2 / 3])
        assert list(wrong.get_data().values) == pytest.approx([1 / 2, 0, 0, 1 / 2])

    def test_counts_stand_for_examples(self) -> None:
        frame = pd.DataFrame(
            {
                "loss": "CCE",
                "is_corrupted": [False, False, True],
                "label_probability": [0.025, 0.975, 0.025],
                "count": [10, 30, 5],
            }
        )
        right, _, wrong, _ = label_probability_histogram(frame).axes[0].patches
        assert list(right.get_data().values[[0, -1]]) == pytest.approx([0.25, 0.75])
        assert wrong.get_data().values[0] == 1.0
        assert len(wrong.get_data().values) == 20

    def test_without_wrong_labels_they_are_at_zero(self) -> None:
        frame = label_probabilities().query("not is_corrupted")
        wrong = label_probability_histogram(frame).axes[0].patches[2]
        assert not wrong.get_data().values.any()

    @pytest.mark.parametrize("num_losses", [1, 3, 4, 5, 7])
    def test_every_loss_has_its_panel(self, num_losses: int) -> None:
        parts = [label_probabilities().assign(loss=f"loss {i}") for i in range(num_losses)]
        axes = label_probability_histogram(pd.concat(parts)).axes
        assert len(axes) == num_losses

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `frame` .*got none named is_corrupted"):
            label_probability_histogram(label_probabilities().drop(columns="is_corrupted"))

    @pytest.mark.parametrize("value", [1.5, float("nan")])
    def test_what_is_no_probability_is_an_error(self, value: float) -> None:
        frame = label_probabilities()
        frame.loc[3, "label_probability"] = value
        with pytest.raises(ValueError, match=r"Expected `label_probability` in \[0, 1\], got"):
            label_probability_histogram(frame)
