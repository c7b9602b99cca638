"""Student's t distribution with a whole number of degrees of freedom, in closed form."""

from __future__ import annotations

import math


def student_coverage(t: float, degrees: int) -> float:
    r"""Give the probability that a t-distributed value lies within t of 0.

    .. math:: A(t | \nu) = P(|T| \le t), \quad \theta = \arctan(t / \sqrt{\nu})

    A finite sum in powers of the cosine of theta, for odd and for even degrees of freedom.

    Args:
        t: at least 0.
        degrees: nu, of freedom, at least 1.

    Returns:
        In [0, 1].

    Raises:
        ValueError: if an argument is out of its range.

    References:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.

    Example:
        >>> round(student_coverage(1.0, 1), 12)
        0.5
    """
    if t < 0 or degrees < 1:
        raise ValueError(f"Expected t >= 0 and degrees >= 1, got {t} and {degrees}.")
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    is_odd = degrees % 2 == 1
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for power in range(1 if is_odd else 0, degrees - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    return 2 / math.pi * (theta + sine * total) if is_odd else sine * total


def student_quantile(coverage: float, degrees: int) -> float:
    """Find within what distance of 0 a t-distributed value lies with a given probability.

    Args:
        coverage: the probability, in [0, 1).
        degrees: of freedom, at least 1.

    Returns:
        t, found by bisection to the last digits.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> round(student_quantile(0.95, 2), 6)
        4.302653
    """
    if not 0 <= coverage < 1:
        raise ValueError(f"Expected a coverage in [0, 1), got {coverage}.")
    low, high = 0.0, 1.0
    while student_coverage(high, degrees) < coverage:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if student_coverage(middle, degrees) < coverage else (low, middle)
        )
    return (low + high) / 2
