"""What holds for every loss of the registry, and their closed forms in NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.losses import LOSSES, JointOptimization, Loss, LossContext, make_loss

Evaluate = Callable[..., tuple[Tensor, Tensor]]
Array = NDArray[np.float64]

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    ("label_smoothing", {"epsilon": 0.5}),
    ("confidence_penalty", {"epsilon": 0.5, "temperature": 0.4}),
    ("confidence_penalty", {"temperature": 0.4, "detach_target": False}),
    ("confidence_penalty", {"form": "clipped"}),
    ("bootstrap_soft", {"temperature": 0.2}),
    ("bootstrap_soft", {"temperature": 0.2, "detach_target": False}),
    ("proselflc", {"detach_target": True}),
    ("proselflc", {"temperature": 0.5}),
    ("proselflc", {"temperature": 0.5, "trust": "max_probability"}),
    ("proselflc", {"trust": "global"}),
    ("proselflc", {"trust": "local"}),
    ("proselflc", {"detach_trust": False}),
    ("proselflc", {"final_temperature": 0.2}),
    ("confidence_penalty", {"form": "regulariser", "epsilon": 0.1}),
    ("confidence_penalty", {"form": "clipped", "temperature": 0.4, "detach_target": False}),
    ("derivative_manipulation", {"lam": 0.5, "beta": 12.0}),
    ("derivative_manipulation", {"lam": 0.0, "beta": -1.0, "vanish_at_one": False}),
    ("derivative_manipulation", {"normalisation": "integral"}),
    ("derivative_manipulation", {"density": "exponential", "beta": 2.0}),
    ("derivative_manipulation", {"density": "normal", "psi": 0.3, "beta": 12.0}),
    ("derivative_manipulation", {"density": "beta", "alpha": 2.0, "eta": 3.0}),
    ("mean_absolute_error", {"form": "full"}),
    ("mean_squared_error", {"form": "full"}),
    ("generalized_cross_entropy", {"q": 1e-6}),
    ("symmetric_cross_entropy", {"alpha": 6.0, "beta": 0.1}),
    ("active_passive", {"passive": "mean_absolute_error", "alpha": 10.0}),
    ("epsilon_softmax", {"alpha": 1.0, "beta": 0.0, "m": 1e6}),
    ("pseudo_label", {"on_labelled": False}),
    ("joint_optimization", {"form": "hard"}),
    ("corrected_labels", {"form": "hard"}),
    ("distillation", {"temperature": 1.0}),
    ("early_learning_regularization", {"num_entries": 2}),
]


def made(name: str, parameters: dict[str, Any]) -> Loss:
    """A loss, without the warning of which the tests know what it means."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_loss(name, **parameters)


ALL = [pytest.param(made(*variant), id=repr(made(*variant))) for variant in VARIANTS]
LABELS = [0, 6, 3, 3, 1]
PROGRESS = 0.6


@pytest.fixture
def logits() -> Tensor:
    """Scores, shape (5, 7), float64."""
    return 2 * torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_value_for_each_example(
    evaluate: Evaluate, logits: Tensor, loss: Loss, dtype: torch.dtype
) -> None:
    values, gradients = evaluate(loss, logits.to(dtype), LABELS, PROGRESS)
    assert values.shape == (5,)
    assert values.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert gradients.dtype == dtype


@pytest.mark.parametrize("loss", ALL)
def test_a_shift_of_the_logits_changes_nothing(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    shift = torch.tensor([[-50.0], [3.0], [0.0], [7.0], [100.0]])
    torch.testing.assert_close(
        evaluate(loss, logits + shift, LABELS, PROGRESS), evaluate(loss, logits, LABELS, PROGRESS)
    )


@pytest.mark.parametrize("loss", ALL)
def test_permuting_the_batch_permutes_the_result(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    order = [4, 0, 3, 1, 2]
    values, gradients = evaluate(loss, logits, LABELS, PROGRESS)
    permuted = evaluate(loss, logits[order], [LABELS[i] for i in order], PROGRESS)
    torch.testing.assert_close(permuted, (values[order], gradients[order]))


@pytest.mark.parametrize("loss", ALL)
def test_permuting_the_classes_permutes_the_result(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    order = [2, 6, 0, 1, 5, 3, 4]
    values, gradients = evaluate(loss, logits, LABELS, PROGRESS)
    permuted = evaluate(loss, logits[:, order], [order.index(k) for k in LABELS], PROGRESS)
    torch.testing.assert_close(permuted, (values, gradients[:, order]))


@pytest.mark.parametrize("loss", ALL)
def test_the_value_does_not_depend_on_other_rows(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    if isinstance(loss, JointOptimization):
        pytest.skip("its prior is a term of the batch")
    values, _ = evaluate(loss, logits, LABELS, PROGRESS)
    alone, _ = evaluate(loss, logits[:1], LABELS[:1], PROGRESS)
    torch.testing.assert_close(alone, values[:1])


@pytest.mark.parametrize("loss", ALL)
def test_the_gradient_depends_on_other_rows_exactly_where_declared(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    _, gradients = evaluate(loss, logits, LABELS, PROGRESS)
    changed = torch.cat([logits[:1], 3 * logits[1:]])
    _, after = evaluate(loss, changed, LABELS, PROGRESS)
    assert torch.allclose(gradients[0], after[0], rtol=1e-9) is not loss.batch_weighted


@pytest.mark.parametrize("loss", ALL)
def test_a_score_that_is_no_number_shows_in_the_value(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    # Nothing looks for NaN in each step; the training loop sees it in the sum of the values.
    broken = torch.where(torch.arange(7) == 5, torch.nan, logits[:2])
    values, _ = evaluate(loss, broken, LABELS[:2], PROGRESS)
    assert values.isnan().all()


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_extreme_logits_give_finite_values_and_gradients(
    evaluate: Evaluate, loss: Loss, dtype: torch.dtype, progress: float
) -> None:
    # p_y exactly 1, exactly 0, tied, with -1e4 and 1e4 on either side
    logits = torch.tensor(
        [[1e4, -1e4, 0], [1e4, -1e4, 0], [1e4, 1e4, -1e4], [-1e4, -1e4, 1e4], [0, 0, 0]],
        dtype=dtype,
    )
    values, gradients = evaluate(loss, logits, [0, 1, 2, 2, 1], progress)
    assert values.isfinite().all()
    assert gradients.isfinite().all()


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(
    rows=st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    progress=st.floats(0, 1),
)
def test_any_logits_give_finite_values_and_gradients(
    evaluate: Evaluate, rows: list[list[float]], progress: float
) -> None:
    logits = torch.tensor(rows, dtype=torch.float32)
    labels = [row % 3 for row in range(len(rows))]
    for variant in VARIANTS:  # one drawn case serves all losses
        values, gradient = evaluate(made(*variant), logits, labels, progress)
        assert values.isfinite().all(), variant
        assert gradient.isfinite().all(), variant


@pytest.mark.parametrize("loss", ALL)
def test_float32_agrees_with_float64_at_all_pfam_families(evaluate: Evaluate, loss: Loss) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = 4 * torch.randn(3, 17929, dtype=torch.float32, generator=generator)
    labels = [int(logits[0].argmax()), 17, 17928]
    values, gradients = evaluate(loss, logits, labels, PROGRESS)
    exact_values, exact_gradients = evaluate(loss, logits.double(), labels, PROGRESS)
    torch.testing.assert_close(values.double(), exact_values, atol=1e-6, rtol=1e-5)
    scale = float(exact_gradients.abs().max())
    torch.testing.assert_close(gradients.double(), exact_gradients, atol=1e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cross_entropy", {}),
        ("label_smoothing", {}),
        ("confidence_penalty", {}),
        ("confidence_penalty", {"temperature": 0.4, "detach_target": False}),
        ("confidence_penalty", {"form": "clipped"}),
        ("bootstrap_soft", {}),
        ("bootstrap_soft", {"temperature": 0.4, "detach_target": False}),
        ("confidence_penalty", {"form": "regulariser", "epsilon": 0.1}),
        ("confidence_penalty", {"form": "clipped", "temperature": 0.4, "detach_target": False}),
        ("proselflc", {"trust": "global"}),
        *(
            ("proselflc", {"trust": trust, "detach_trust": False, "detach_target": False, **more})
            for trust in ("entropy", "max_probability", "global", "local")
            for more in ({}, {"temperature": 0.4})
        ),
    ],
)
def test_attached_gradients_are_those_of_the_value(
    logits: Tensor, name: str, parameters: dict[str, Any]
) -> None:
    loss = make_loss(name, **parameters)
    context = LossContext(progress=PROGRESS, index=torch.arange(5))
    labels = torch.tensor(LABELS)
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, labels, context), (logits.requires_grad_(),)
    )


def softmax(z: Array) -> Array:
    """Softmax over the last axis."""
    e: Array = np.exp(z - z.max(axis=1, keepdims=True))
    quotient: Array = e / e.sum(axis=1, keepdims=True)
    return quotient


def cross_entropy_of(target: Array, p: Array) -> Array:
    """H(target, p), shape (B,)."""
    value: Array = -(target * np.log(p)).sum(axis=1)
    return value


def entropy_gradient(p: Array) -> Array:
    """dH(p)/dz = -p (log p + H(p))."""
    return -p * (np.log(p) + cross_entropy_of(p, p)[:, None])


def trust_of(p: Array, kind: str) -> Array:
    """g(t) l(p) with B = 12, tau = 1/2, shape (B, 1)."""
    in_model = 1 / (1 + np.exp(-12 * (PROGRESS - 0.5)))
    entropy_kind = 1 - cross_entropy_of(p, p) / np.log(p.shape[1])
    local = {"entropy": entropy_kind, "max_probability": p.max(axis=1), "global": np.ones(len(p))}
    column: Array = (in_model * local[kind])[:, None]
    return column


def transcription(name: str, parameters: dict[str, Any], z: Array, q: Array) -> tuple[Array, Array]:
    """Values, shape (B,), and gradient of each, shape (B, K), by the published equations."""
    temperature = parameters.get("temperature", 1.0)
    p, p_t = softmax(z), softmax(z / temperature)
    if name == "cross_entropy":
        return cross_entropy_of(q, p), p - q
    if name == "label_smoothing":
        target = (1 - parameters["epsilon"]) * q + parameters["epsilon"] / z.shape[1]
        return cross_entropy_of(target, p), p - target
    if name == "derivative_manipulation":
        p_y = (p * q).sum(axis=1, keepdims=True)
        w = np.exp(parameters["beta"] * p_y ** parameters["lam"] * (1 - p_y))
        return cross_entropy_of(q, p), len(z) * w / w.sum() * (p - q) / (2 * (1 - p_y))
    trust = parameters["epsilon"] if "epsilon" in parameters else trust_of(p_t, parameters["trust"])
    sign = -1 if name == "confidence_penalty" else 1
    target = (1 - trust) * q + sign * trust * p_t
    if temperature == 1:  # attached
        return cross_entropy_of(target, p), (1 - trust) * (p - q) + sign * trust * entropy_gradient(
            p
        )
    return cross_entropy_of(target, p), target.sum(axis=1, keepdims=True) * p - target


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cross_entropy", {}),
        ("label_smoothing", {"epsilon": 0.3}),
        ("confidence_penalty", {"epsilon": 0.3}),
        ("confidence_penalty", {"epsilon": 0.3, "temperature": 0.4}),
        ("bootstrap_soft", {"epsilon": 0.3}),
        ("bootstrap_soft", {"epsilon": 0.3, "temperature": 0.4}),
        ("proselflc", {"trust": "entropy"}),
        ("proselflc", {"trust": "max_probability"}),
        ("proselflc", {"trust": "global"}),
        ("proselflc", {"trust": "entropy", "temperature": 0.4}),
        ("proselflc", {"trust": "max_probability", "temperature": 0.4}),
        ("derivative_manipulation", {"lam": 0.5, "beta": 12.0, "vanish_at_one": False}),
        ("derivative_manipulation", {"lam": 0.0, "beta": -2.0, "vanish_at_one": False}),
    ],
)
def test_values_and_gradients_agree_with_the_equations(
    evaluate: Evaluate, logits: Tensor, name: str, parameters: dict[str, Any]
) -> None:
    expected = transcription(name, parameters, logits.numpy(), np.eye(7)[LABELS])
    values, gradients = evaluate(make_loss(name, **parameters), logits, LABELS, PROGRESS)
    np.testing.assert_allclose(values.numpy(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradients.numpy(), expected[1] / 5, rtol=1e-9, atol=1e-15)


COMPILED = [
    ("label_smoothing", {}),
    ("bootstrap_hard", {}),
    ("confidence_penalty", {"temperature": 0.4}),
    ("proselflc", {"temperature": 0.5}),
    ("proselflc", {"temperature": 0.5, "detach_target": False, "detach_trust": False}),
    ("distillation", {}),
    ("joint_optimization", {}),
    ("early_learning_regularization", {"num_entries": 2}),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of autograd functions
@pytest.mark.parametrize(("name", "parameters"), COMPILED)
def test_a_compiler_gives_the_same_values_and_gradients(
    evaluate: Evaluate, logits: Tensor, name: str, parameters: dict[str, Any]
) -> None:
    # Some sums are written otherwise for a compiler; nothing of the loss may break its graph.
    loss: Any = make_loss(name, **parameters)
    torch.compiler.reset()
    compiled = torch.compile(loss.__call__, backend="aot_eager", fullgraph=True)

    class Compiled:
        """The same loss, with what the evaluation asks of it."""

        def __getattr__(self, attribute: str) -> Any:
            return getattr(loss, attribute)

        def __call__(self, *given: Any) -> Tensor:
            values: Tensor = compiled(*given)
            return values

    torch.testing.assert_close(
        evaluate(Compiled(), logits, LABELS, PROGRESS), evaluate(loss, logits, LABELS, PROGRESS)
    )
    values, _ = evaluate(Compiled(), torch.full_like(logits, torch.nan), LABELS, PROGRESS)
    assert values.isnan().all()
