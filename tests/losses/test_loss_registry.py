"""The losses by name, and the checks of their parameters."""

from __future__ import annotations

import warnings
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from protein_robust.errors import InputError
from protein_robust.losses import LOSSES, ProSelfLC, make_loss


def test_the_registry_holds_the_losses_of_the_talks_table() -> None:
    assert set(LOSSES) >= {
        "cross_entropy",
        "label_smoothing",
        "confidence_penalty",
        "bootstrap_soft",
        "proselflc",
        "derivative_manipulation",
    }


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_complete_by_default(name: str) -> None:
    assert isinstance(make_loss(name), LOSSES[name])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_says_whether_it_weights_by_the_batch(name: str) -> None:
    assert isinstance(make_loss(name).batch_weighted, bool)


@pytest.mark.parametrize("name", LOSSES)
def test_every_parameter_is_explained_in_the_docstring(name: str) -> None:
    documentation = str(LOSSES[name].__doc__)
    assert all(f"        {field.name}: " in documentation for field in fields(LOSSES[name]))


def test_a_loss_cannot_be_changed_afterwards() -> None:
    loss: Any = make_loss("proselflc")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'temperature'"):
        loss.temperature = 0.5


def test_parameters_reach_the_loss() -> None:
    loss = make_loss("proselflc", exp_base=8, temperature=0.5)
    assert loss == ProSelfLC(exp_base=8, temperature=0.5)


def test_an_unknown_name_is_answered_with_all_names_and_the_nearest() -> None:
    message = (
        r"Expected a loss out of cross_entropy, .* \(the nearest is proselflc\), got 'proself'"
    )
    with pytest.raises(InputError, match=message):
        make_loss("proself")


def test_a_name_like_no_other_gets_no_nearest() -> None:
    with pytest.raises(InputError, match=r"proselflc, [a-z_, ]+, got 'xyzzy'\."):
        make_loss("xyzzy")


def test_an_unknown_parameter_is_answered_with_the_known_ones() -> None:
    message = (
        r"Expected a parameter of `bootstrap_soft` out of epsilon, temperature, detach_target "
        r"\(the nearest is temperature\), got 'temprature'\."
    )
    with pytest.raises(InputError, match=message):
        make_loss("bootstrap_soft", temprature=0.5)


def test_cross_entropy_has_no_parameters() -> None:
    message = r"Expected a parameter of `cross_entropy` out of none at all, got 'epsilon'\."
    with pytest.raises(InputError, match=message):
        make_loss("cross_entropy", epsilon=0.1)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("label_smoothing", {"epsilon": 1.2}, r"`epsilon` in \[0, 1\], got 1\.2\."),
        ("label_smoothing", {"epsilon": "0.1"}, r"`epsilon` in \[0, 1\], got '0\.1'\."),
        ("label_smoothing", {"epsilon": True}, r"`epsilon` in \[0, 1\], got True\."),
        ("confidence_penalty", {"epsilon": float("nan")}, r"`epsilon` in \[0, 1\], got nan\."),
        (
            "confidence_penalty",
            {"form": "clip"},
            r"`form` out of target, clipped, regulariser, got 'clip'\.",
        ),
        ("confidence_penalty", {"temperature": 2}, r"`temperature` in \[0\.01, 1\], got 2\."),
        ("bootstrap_soft", {"epsilon": -0.1}, r"`epsilon` in \[0, 1\], got -0\.1\."),
        ("bootstrap_soft", {"temperature": 0}, r"`temperature` in \[0\.01, 1\], got 0\."),
        ("bootstrap_soft", {"detach_target": 1}, r"`detach_target` out of None, True, False"),
        ("proselflc", {"exp_base": -1}, r"`exp_base` in \[0, inf\), got -1\."),
        ("proselflc", {"transit_time_ratio": 2}, r"`transit_time_ratio` in \[0, 1\], got 2\."),
        ("proselflc", {"trust": "both"}, r"`trust` out of entropy, max_probability, global, local"),
        ("proselflc", {"temperature": 0.5j}, r"`temperature` in \[0\.01, 1\], got 0\.5j\."),
        ("derivative_manipulation", {"lam": -1}, r"`lam` in \[0, inf\), got -1\."),
        ("derivative_manipulation", {"beta": 2e3}, r"`beta` in \[-320, 320\] with `lam` 1"),
        ("derivative_manipulation", {"vanish_at_one": 0}, r"`vanish_at_one` out of True, False"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        make_loss(name, **parameters)


@pytest.mark.parametrize("name", ["confidence_penalty", "bootstrap_soft", "proselflc"])
def test_a_detached_target_at_temperature_one_is_warned_about(name: str) -> None:
    with pytest.warns(UserWarning, match="cross entropy times a weight for each example"):
        make_loss(name, detach_target=True, temperature=1)


def test_the_warning_points_at_the_line_that_constructs() -> None:
    with pytest.warns(UserWarning, match="detach_target") as caught:
        ProSelfLC(detach_target=True)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("parameters", [{}, {"temperature": 0.5}, {"detach_target": False}])
def test_the_other_conventions_are_not_warned_about(parameters: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        make_loss("proselflc", **parameters)
    assert not caught
