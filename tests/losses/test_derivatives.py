"""Derivative manipulation and IMAE: the gradients of a batch and of its parts, and what is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.functional import cosine_similarity, nll_loss

from protein_robust.errors import InputError
from protein_robust.losses import CrossEntropy, Loss, LossContext, batch_objective, batch_total
from protein_robust.losses.derivatives import IMAE, DerivativeManipulation
from protein_robust.losses.emphasis import Beta, Exponential, General, Normal

Evaluate = Callable[..., tuple[Tensor, Tensor]]
Array = NDArray[np.float64]

BATCH = torch.tensor(
    [[1 / 2, 1 / 3, 1 / 6], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]], dtype=torch.float64
).log()
VARIANTS: list[DerivativeManipulation | IMAE] = [
    DerivativeManipulation(),
    DerivativeManipulation(lam=0.5, beta=12),
    DerivativeManipulation(lam=0, beta=-2),
    DerivativeManipulation(vanish_at_one=False),
    DerivativeManipulation(density="exponential", beta=2),
    DerivativeManipulation(density="normal", psi=0.3, beta=12),
    DerivativeManipulation(density="beta", alpha=1.7),
    DerivativeManipulation(normalisation="integral"),
    DerivativeManipulation(density="beta", normalisation="integral"),
    IMAE(),
    IMAE(temperature=16, normalisation="integral"),
]
ALL = [pytest.param(loss, id=repr(loss)) for loss in VARIANTS]
BATCH_NORMALISED = [pytest.param(loss, id=repr(loss)) for loss in VARIANTS if loss.batch_weighted]


def random_batch(num_rows: int, num_classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Scores of some spread, and labels."""
    generator = torch.Generator().manual_seed(5)
    logits = 4 * torch.randn(num_rows, num_classes, dtype=dtype, generator=generator)
    return logits, torch.randint(num_classes, (num_rows,), generator=generator)


def context_of(num_examples: int) -> LossContext:
    """Some context."""
    return LossContext(progress=0.5, index=torch.arange(num_examples))


@pytest.mark.parametrize("vanish_at_one", [False, True])
def test_batch_gradient_by_hand(evaluate: Evaluate, vanish_at_one: bool) -> None:
    # p_y = 0.5, 0.05, 0.9: w = 69.591378, 12.795806, 3.121832; shares 0.813848, 0.149643, 0.036509,
    # each times (p - q) / (2 (1 - p_y))
    loss = DerivativeManipulation(lam=0.5, beta=12, vanish_at_one=vanish_at_one)
    _, gradients = evaluate(loss, BATCH, [0, 0, 0])
    expected = [
        [-0.406924, 0.271283, 0.135641],
        [-0.074821, 0.070883, 0.003938],
        [-0.018254, 0.009127, 0.009127],
    ]
    torch.testing.assert_close(
        gradients, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )


def test_gradient_normalised_by_the_integral_by_hand(evaluate: Evaluate) -> None:
    # w(1/2) / integral = 69.591378 / 44.363448 = 1.568665, times [-1/2, 1/3, 1/6], of one example
    loss = DerivativeManipulation(lam=0.5, beta=12, normalisation="integral")
    _, gradients = evaluate(loss, BATCH[:1], [0])
    assert gradients[0].tolist() == pytest.approx([-0.784332, 0.522888, 0.261444], abs=1e-6)


def emphasis_of(loss: DerivativeManipulation | IMAE, p: Array) -> Array:
    """W by the published equations."""
    parameters: dict[str, Any] = vars(loss)
    if isinstance(loss, IMAE):
        exponent: Array = loss.temperature * p * (1 - p)
    elif loss.density == "general":
        exponent = parameters["beta"] * p ** parameters["lam"] * (1 - p)
    elif loss.density == "exponential":
        exponent = parameters["beta"] * (1 - p)
    elif loss.density == "normal":
        exponent = -parameters["beta"] * p * (p - 2 * parameters["psi"])
    else:
        power: Array = p ** (parameters["alpha"] - 1) * (1 - p) ** (parameters["eta"] - 1)
        return power
    w: Array = np.exp(exponent)
    return w


@pytest.mark.parametrize("loss", ALL)
def test_values_and_gradients_agree_with_the_equations(
    evaluate: Evaluate, loss: DerivativeManipulation | IMAE
) -> None:
    logits, labels = random_batch(9, 7, torch.float64)
    e = np.exp(logits.numpy() - logits.numpy().max(axis=1, keepdims=True))
    p, q = e / e.sum(axis=1, keepdims=True), np.eye(7)[labels]
    p_y = (p * q).sum(axis=1, keepdims=True)
    total = emphasis_of(loss, p_y).sum()
    if loss.normalisation == "integral":
        middles = (np.arange(400000) + 0.5) / 400000
        total = len(p) * emphasis_of(loss, middles).mean()
    delta = 1e-8 if loss.vanish_at_one else 0
    expected = emphasis_of(loss, p_y) / total * (p - q) / (2 * (1 - p_y) + delta)
    values, gradients = evaluate(loss, logits, labels.tolist())
    np.testing.assert_allclose(values.numpy(), -np.log(p_y[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(gradients.numpy(), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("loss", BATCH_NORMALISED)
def test_gradient_norms_of_a_batch_sum_to_one(evaluate: Evaluate, loss: Loss) -> None:
    _, gradients = evaluate(loss, BATCH, [0, 2, 1])
    assert gradients.abs().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("loss", ALL)
def test_the_direction_is_that_of_cross_entropy(evaluate: Evaluate, loss: Loss) -> None:
    _, gradients = evaluate(loss, BATCH, [0, 2, 1])
    _, plain = evaluate(CrossEntropy(), BATCH, [0, 2, 1])
    assert cosine_similarity(gradients, plain, dim=1).tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("loss", ALL)
def test_the_value_is_the_cross_entropy(evaluate: Evaluate, loss: Loss) -> None:
    values, _ = evaluate(loss, BATCH, [0, 2, 1])
    torch.testing.assert_close(values, evaluate(CrossEntropy(), BATCH, [0, 2, 1])[0])


@pytest.mark.parametrize(
    "loss", [DerivativeManipulation(beta=0), IMAE(temperature=0)], ids=["DM", "IMAE"]
)
def test_strength_zero_weights_all_examples_alike(evaluate: Evaluate, loss: Loss) -> None:
    _, gradients = evaluate(loss, BATCH, [0, 2, 1])
    assert gradients.abs().sum(dim=1).tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("normalisation", ["batch", "integral"])
@pytest.mark.parametrize("vanish_at_one", [False, True])
def test_imae_is_derivative_manipulation_with_lambda_one(
    evaluate: Evaluate, normalisation: Any, vanish_at_one: bool
) -> None:
    logits, labels = random_batch(6, 5, torch.float32)
    imae = IMAE(temperature=16, normalisation=normalisation, vanish_at_one=vanish_at_one)
    general = DerivativeManipulation(
        lam=1, beta=16, normalisation=normalisation, vanish_at_one=vanish_at_one
    )
    values, gradients = evaluate(imae, logits, labels.tolist())
    other_values, other_gradients = evaluate(general, logits, labels.tolist())
    assert torch.equal(values, other_values)
    assert torch.equal(gradients, other_gradients)


def cross_entropy(p_y: Tensor) -> Tensor:
    return -p_y.log()


def absolute_error(p_y: Tensor) -> Tensor:
    return 1 - p_y


def squared_error(p_y: Tensor) -> Tensor:
    return (1 - p_y) ** 2


def generalised_cross_entropy(p_y: Tensor) -> Tensor:
    return (1 - p_y**0.7) / 0.7


@pytest.mark.parametrize(
    ("plain", "alpha", "eta", "factor"),
    [
        # The L1 norm of each gradient by the factor is the beta density.
        (cross_entropy, 1, 2, 2),
        (absolute_error, 2, 2, 2),
        (squared_error, 2, 3, 4),
        (generalised_cross_entropy, 1.7, 2, 2),
    ],
)
def test_beta_densities_weight_as_the_common_losses(
    evaluate: Evaluate,
    plain: Callable[[Tensor], Tensor],
    alpha: float,
    eta: float,
    factor: float,
) -> None:
    logits, labels = random_batch(8, 5, torch.float64)
    leaf = logits.clone().requires_grad_()
    label_probs = (-nll_loss(leaf.log_softmax(dim=1), labels, reduction="none")).exp()
    (expected,) = torch.autograd.grad(plain(label_probs).sum(), leaf)
    norms = expected.abs().sum(dim=1)
    density = Beta(alpha=alpha, eta=eta)
    weights = density.log_density(-label_probs.detach().logit()).exp()
    torch.testing.assert_close(norms, factor * weights)
    loss = DerivativeManipulation(density="beta", alpha=alpha, eta=eta, vanish_at_one=False)
    _, gradients = evaluate(loss, logits, labels.tolist())
    torch.testing.assert_close(gradients, expected / norms.sum())


def test_the_beta_density_one_two_over_its_integral_is_cross_entropy(evaluate: Evaluate) -> None:
    loss = DerivativeManipulation(
        density="beta", alpha=1, eta=2, normalisation="integral", vanish_at_one=False
    )
    logits, labels = random_batch(8, 5, torch.float64)
    torch.testing.assert_close(
        evaluate(loss, logits, labels.tolist()), evaluate(CrossEntropy(), logits, labels.tolist())
    )


@pytest.mark.parametrize("normalisation", ["batch", "integral"])
@pytest.mark.parametrize(
    ("vanish_at_one", "expected"),
    [(False, [-0.5, 0.365529, 0.134471]), (True, [0.0, 0.0, 0.0])],
    ids=["exact", "vanishing"],
)
def test_a_fitted_example_keeps_pulling_unless_it_is_to_vanish(
    evaluate: Evaluate, normalisation: Any, vanish_at_one: bool, expected: list[float]
) -> None:
    # float32 rounds p_y to 1; the others share e : 1, and w(1) = 1
    loss = DerivativeManipulation(normalisation=normalisation, vanish_at_one=vanish_at_one)
    _, gradients = evaluate(loss, torch.tensor([[40.0, 1.0, 0.0]]), [0])
    scale = 1.0 if normalisation == "batch" else 1 / 24.080006
    assert gradients[0].tolist() == pytest.approx([scale * x for x in expected], abs=1e-6)


def test_half_the_pull_is_left_where_the_length_is_the_authors_delta(evaluate: Evaluate) -> None:
    # 2 (1 - p_y) = 1e-8: 2 * e^-m with two classes, m = ln 2e8
    logits = torch.tensor([[math.log(2e8), 0.0]], dtype=torch.float64)
    _, gradients = evaluate(DerivativeManipulation(), logits, [0])
    assert gradients[0].tolist() == pytest.approx([-0.25, 0.25], rel=1e-6)


def test_vanishing_changes_nothing_far_from_one(evaluate: Evaluate) -> None:
    _, vanishing = evaluate(DerivativeManipulation(), BATCH, [0, 2, 1])
    _, exact = evaluate(DerivativeManipulation(vanish_at_one=False), BATCH, [0, 2, 1])
    torch.testing.assert_close(vanishing, exact, atol=0, rtol=1e-6)


@pytest.mark.parametrize("loss", BATCH_NORMALISED)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_example_weights_are_the_norms_of_the_rule(
    loss: DerivativeManipulation | IMAE, scale: float
) -> None:
    logits, labels = random_batch(12, 5, torch.float32)
    exact = replace(loss, vanish_at_one=False)
    leaf = (scale * logits).requires_grad_()
    values = exact(leaf, labels, context_of(12))
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    weights = exact.example_weights(values.detach())
    # Below 1e-30 float32 itself loses digits.
    norms = gradient.double().abs().sum(dim=1)
    torch.testing.assert_close(norms, weights, atol=1e-30, rtol=1e-6)


@pytest.mark.parametrize("factory", [DerivativeManipulation, IMAE])
def test_over_the_integral_a_batch_is_divided_by_its_size(factory: type) -> None:
    loss = factory(normalisation="integral")
    assert loss.example_weights(torch.ones(3)) is None
    assert batch_total(loss, torch.ones(3)).item() == 3


@pytest.mark.parametrize("loss", ALL)
def test_parts_of_a_batch_add_up_to_its_gradient(evaluate: Evaluate, loss: Loss) -> None:
    logits, labels = random_batch(10, 5, torch.float64)
    leaf = logits.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for begin in (0, 4, 8):  # the last part has 2 examples
        part = slice(begin, begin + 4)
        values = loss(leaf[part], labels[part], context_of(len(labels[part])))
        total += batch_total(loss, values)
        values.sum().backward()
    assert leaf.grad is not None
    _, whole = evaluate(loss, logits, labels.tolist())
    torch.testing.assert_close(leaf.grad / total, whole)


@pytest.mark.parametrize("loss", ALL)
def test_a_row_does_not_depend_on_where_a_batch_is_cut_into_chunks(
    evaluate: Evaluate, loss: Loss
) -> None:
    # 40 rows of 17929 scores are worked on in two chunks.
    logits, labels = random_batch(40, 17929, torch.float32)
    values, gradients = evaluate(loss, logits, labels.tolist())
    again, reordered = evaluate(loss, logits.flip(0), labels.flip(0).tolist())
    torch.testing.assert_close(again.flip(0), values)
    torch.testing.assert_close(reordered.flip(0), gradients)


@pytest.mark.parametrize("loss", ALL)
def test_float32_agrees_with_float64_at_all_pfam_families(evaluate: Evaluate, loss: Loss) -> None:
    logits, labels = random_batch(4, 17929, torch.float32)
    labels[0] = logits[0].argmax()
    logits[1, labels[1]] = 20.0  # p_y near 1/2
    values, gradients = evaluate(loss, logits, labels.tolist())
    exact_values, exact = evaluate(loss, logits.double(), labels.tolist())
    torch.testing.assert_close(values.double(), exact_values, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(
        gradients.double(), exact, atol=1e-6 * float(exact.abs().max()), rtol=1e-4
    )


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_extreme_scores_give_finite_gradients_of_bounded_length(
    evaluate: Evaluate, loss: Loss, num_classes: int
) -> None:
    logits = torch.full((2, num_classes), -1e4)
    logits[:, 0] = 1e4
    values, gradients = evaluate(loss, logits, [0, 1])
    assert values.tolist() == [0, 20000]
    assert gradients.isfinite().all()
    assert gradients.abs().sum() <= 1 + 1e-6


def test_a_batch_that_weighs_nothing_does_not_pull(evaluate: Evaluate) -> None:
    _, gradients = evaluate(
        DerivativeManipulation(density="beta"), torch.tensor([[1e4, -1e4, 0.0]] * 2), [1, 1]
    )
    assert not gradients.any()


@pytest.mark.parametrize("beta", [320.0, -320.0])
def test_the_strongest_density_keeps_the_norm_of_every_batch(
    evaluate: Evaluate, beta: float
) -> None:
    # For each sign one of these is at the bottom of the density, e^-80 below its peak.
    loss = DerivativeManipulation(beta=beta, vanish_at_one=False)
    for logits in ([[0.0, 0.0, -1e4]], [[0.0, 200.0, 200.0]]):
        _, gradients = evaluate(loss, torch.tensor(logits), [0])
        assert gradients.abs().sum().item() == pytest.approx(1, abs=1e-6)


def test_description_by_hand() -> None:
    # p_y = 0.5, 0.05, 0.9, and 1 to float32: w as it is, without the peak and without the fading
    loss = DerivativeManipulation(lam=0.5, beta=12)
    logits = torch.cat([BATCH, torch.tensor([[40.0, 1.0, 0.0]])])
    described = loss.describe(logits.requires_grad_(), torch.tensor([0, 0, 0, 0]), 0.3)
    assert list(described) == ["emphasis"]
    assert described["emphasis"].tolist() == pytest.approx(
        [69.591378, 12.795806, 3.121832, 1.0], rel=1e-6
    )
    assert not described["emphasis"].requires_grad


def test_imae_describes_its_weights() -> None:
    # p_y = 0.5, 0.05, 0.9: e to the 8 p (1 - p), that is 2, 0.38, 0.72
    emphasis = IMAE().describe(BATCH, torch.tensor([0, 0, 0]), 0.0)["emphasis"]
    assert emphasis.tolist() == pytest.approx([7.389056, 1.462285, 2.054433], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "density", "filled"),
    [
        ("general", General(lam=1, beta=16), {"lam": 1.0, "beta": 16.0}),
        ("exponential", Exponential(beta=1), {"beta": 1.0}),
        ("normal", Normal(psi=0.5, beta=16), {"psi": 0.5, "beta": 16.0}),
        ("beta", Beta(alpha=2, eta=2), {"alpha": 2.0, "eta": 2.0}),
    ],
)
def test_the_defaults_of_a_density_are_visible_in_the_fields(
    name: Any, density: object, filled: dict[str, float]
) -> None:
    loss = DerivativeManipulation(density=name)
    absent = dict.fromkeys(("lam", "beta", "psi", "alpha", "eta"))
    others = {"density": name, "normalisation": "batch", "vanish_at_one": True}
    assert vars(loss) == {**absent, **filled, **others}
    assert loss.emphasis == density


@pytest.mark.parametrize("factory", [DerivativeManipulation, IMAE])
@pytest.mark.parametrize(("normalisation", "expected"), [("batch", True), ("integral", False)])
def test_only_normalising_by_the_batch_makes_examples_depend_on_others(
    factory: type, normalisation: str, expected: bool
) -> None:
    assert factory(normalisation=normalisation).batch_weighted is expected


@pytest.mark.parametrize(
    ("factory", "parameters", "message"),
    [
        (
            DerivativeManipulation,
            {"density": "gamma"},
            r"`density` out of general, exponential, normal, beta, got 'gamma'\.",
        ),
        (
            DerivativeManipulation,
            {"psi": 0.5},
            r"a parameter of the general density out of lam, beta, got 'psi'\.",
        ),
        (
            DerivativeManipulation,
            {"density": "exponential", "lam": 0},
            r"a parameter of the exponential density out of beta, got 'lam'\.",
        ),
        (
            DerivativeManipulation,
            {"density": "beta", "beta": 2.0},
            r"a parameter of the beta density out of alpha, eta, got 'beta'\.",
        ),
        (DerivativeManipulation, {"lam": -1}, r"`lam` in \[0, inf\), got -1\."),
        (
            DerivativeManipulation,
            {"beta": 2e3},
            r"`beta` in \[-320, 320\] with `lam` 1 .*2000\.0\.",
        ),
        (DerivativeManipulation, {"density": "normal", "psi": 2}, r"`psi` in \[0, 1\], got 2\."),
        (DerivativeManipulation, {"normalisation": "sum"}, r"`normalisation` out of batch, inte"),
        (DerivativeManipulation, {"vanish_at_one": 0}, r"`vanish_at_one` out of True, False"),
        (IMAE, {"temperature": -1}, r"`temperature` in \[0, 320\], got -1\."),
        (IMAE, {"normalisation": None}, r"`normalisation` out of batch, integral, got None\."),
        (IMAE, {"vanish_at_one": None}, r"`vanish_at_one` out of True, False, got None\."),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused(
    factory: type, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        factory(**parameters)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of autograd functions
@pytest.mark.parametrize("loss", [ALL[0], ALL[6], ALL[7], ALL[10]])
def test_a_compiler_gives_the_same_gradient(evaluate: Evaluate, loss: Loss) -> None:
    logits, labels = random_batch(6, 5, torch.float32)
    context = context_of(6)

    def objective(scores: Tensor) -> Tensor:
        return batch_objective(loss, loss(scores, labels, context))

    leaf = logits.clone().requires_grad_()
    torch.compiler.reset()
    torch.compile(objective, backend="aot_eager", fullgraph=True)(leaf).backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, evaluate(loss, logits, labels.tolist())[1])


PROCESS_LOSSES: list[Loss] = [DerivativeManipulation(), IMAE(), CrossEntropy()]
SPLITS = [5, 3]


def linear_gradient(loss: Loss, part: slice, wrap: Callable[[nn.Module], nn.Module]) -> Tensor:
    """Gradient of the weights of a linear layer after a step on a part of 10 examples."""
    features, labels = random_batch(10, 4, torch.float64)
    layer = nn.Linear(4, 4, bias=False, dtype=torch.float64)
    nn.init.eye_(layer.weight)
    model = wrap(layer)  # it has to live until the backward pass, in which it averages
    logits = model(features[part])
    values = loss(logits, labels[part], context_of(len(logits)))
    batch_objective(loss, values).backward()
    assert layer.weight.grad is not None
    return layer.weight.grad


def run_process(rank: int, folder: str) -> None:
    """One of two: all losses and splits, on its part of the batch."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    gradients = {
        (i, split): linear_gradient(
            loss, [slice(split), slice(split, 10)][rank], nn.parallel.DistributedDataParallel
        )
        for i, loss in enumerate(PROCESS_LOSSES)
        for split in SPLITS
    }
    torch.save(gradients, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def gradients_of_processes(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[tuple[int, int], Tensor]]:
    """What each of two processes has as gradient, by number of loss and size of the first part."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(run_process, args=(str(folder),), nprocs=2)  # type: ignore[attr-defined]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("number", range(len(PROCESS_LOSSES)), ids=["DM", "IMAE", "cross entropy"])
def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(
    gradients_of_processes: list[dict[tuple[int, int], Tensor]], number: int, split: int, rank: int
) -> None:
    whole = linear_gradient(PROCESS_LOSSES[number], slice(10), lambda layer: layer)
    torch.testing.assert_close(gradients_of_processes[rank][number, split], whole)
