"""The context and the check of the inputs of a loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from protein_robust.losses import CrossEntropy, LossContext, check_inputs, check_labels

CONTEXT = LossContext(progress=0.0, index=torch.tensor([0, 1]))


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_outside_the_training_is_refused(progress: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `progress` in \[0, 1\], got"):
        LossContext(progress=progress, index=torch.tensor([0]))


@pytest.mark.parametrize("index", [torch.tensor([[0]]), torch.tensor([0.0])])
def test_an_index_of_another_shape_or_dtype_is_refused(index: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Expected `index` of shape \(B,\) and dtype int64, got"):
        LossContext(progress=0.0, index=index)


@pytest.mark.parametrize(
    "logits",
    [torch.zeros(3), torch.zeros(2, 1), torch.zeros(0, 3), torch.zeros(2, 3, dtype=torch.int64)],
    ids=["one axis", "one class", "no example", "integers"],
)
def test_logits_that_are_no_scores_are_refused(logits: Tensor) -> None:
    message = (
        r"Expected `logits` of shape \(B, K\) with B >= 1 and K >= 2 and a floating dtype, got"
    )
    with pytest.raises(ValueError, match=message):
        CrossEntropy()(logits, torch.tensor([0, 1]), CONTEXT)


@pytest.mark.parametrize(
    ("labels", "actual"),
    [
        (torch.tensor([0]), r"shape \(1,\) and dtype int64"),
        (torch.tensor([[0], [1]]), r"shape \(2, 1\) and dtype int64"),
        (torch.tensor([0, 1], dtype=torch.int32), r"shape \(2,\) and dtype int32"),
    ],
)
def test_labels_of_another_shape_or_dtype_are_refused(labels: Tensor, actual: str) -> None:
    message = rf"Expected `labels` of shape \(2,\) and dtype int64, got {actual}"
    with pytest.raises(ValueError, match=message):
        CrossEntropy()(torch.zeros(2, 3), labels, CONTEXT)


@pytest.mark.parametrize(("labels", "actual"), [([0, 3], "3"), ([-100, 1], "-100")])
def test_a_label_outside_the_classes_is_refused(labels: list[int], actual: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `labels` in \[0, 3\), got {actual}\."):
        CrossEntropy()(torch.zeros(2, 3), torch.tensor(labels), CONTEXT)


def test_labels_on_a_device_are_not_read() -> None:
    # The meta device holds no data: reading a value from it raises.
    labels = torch.zeros(2, dtype=torch.int64, device="meta")
    check_inputs(torch.zeros(2, 3, device="meta"), labels, CONTEXT)


@pytest.mark.parametrize(("labels", "actual"), [([0, 3], "3"), ([-2, 1], "-2")])
def test_labels_can_be_checked_once_for_all(labels: list[int], actual: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `labels` in \[-1, 3\), got {actual}\."):
        check_labels(torch.tensor(labels), 3, lowest=-1)


def test_a_context_of_another_batch_is_refused() -> None:
    context = LossContext(progress=0.0, index=torch.tensor([0]))
    with pytest.raises(ValueError, match=r"Expected `context\.index` of shape \(2,\), got shape"):
        CrossEntropy()(torch.zeros(2, 3), torch.tensor([0, 1]), context)
