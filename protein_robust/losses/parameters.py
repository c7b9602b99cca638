"""Checks of the parameters of losses, made once, when a loss is constructed.

They raise `InputError` (which is a `ValueError`), because these values come from a configuration.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Real

from protein_robust.errors import InputError

TEMPERATURE_MIN = 0.01
"""At 0.01 the tempered prediction is practically one-hot; far below, float32 overflows."""


def check_number(
    name: str, value: object, *, low: float = -math.inf, high: float = math.inf
) -> None:
    """Refuse what is not a finite number in [low, high].

    Raises:
        InputError: naming the parameter, the allowed interval and the value.

    Example:
        >>> check_number("epsilon", 1.2, low=0, high=1)
        Traceback (most recent call last):
        protein_robust.errors.InputError: Expected `epsilon` in [0, 1], got 1.2.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not (is_number and low <= value <= high):  # type: ignore[operator]
        left = "(-inf" if low == -math.inf else f"[{low:g}"
        right = "inf)" if high == math.inf else f"{high:g}]"
        raise InputError(f"`{name}` in {left}, {right}", repr(value))


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse what is not one of the choices, and of the same type: 1 is not True.

    Raises:
        InputError: naming the parameter, the choices and the value.

    Example:
        >>> check_choice("vanish_at_one", "yes", (True, False))
        Traceback (most recent call last):
        protein_robust.errors.InputError: Expected `vanish_at_one` out of True, False, got 'yes'.
    """
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise InputError(f"`{name}` out of {', '.join(map(str, choices))}", repr(value))


def check_self_target(temperature: object, detach_target: object) -> None:
    """Check the two parameters of a target that contains the prediction itself.

    The temperature is at most 1: above, the force that sharpens a corrected label is reversed.

    Raises:
        InputError: if a value is not allowed.

    Warns:
        UserWarning: if the target is detached at temperature 1: that is only a weighting.
    """
    check_number("temperature", temperature, low=TEMPERATURE_MIN, high=1)
    check_choice("detach_target", detach_target, (None, True, False))
    if detach_target is True and temperature == 1:
        warnings.warn(
            "With `detach_target=True` and `temperature=1` the prediction in the target cancels "
            "out of the gradient, which is that of cross entropy times a weight for each example: "
            "no label is corrected and no confidence is penalised. Use a `temperature` below 1 or "
            "`detach_target=False`.",
            UserWarning,
            stacklevel=4,  # this function, __post_init__, the generated __init__, the caller
        )
