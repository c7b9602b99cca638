"""Student's t distribution against scipy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protein_robust.evaluation.student import student_coverage, student_quantile


@given(t=st.floats(0, 50), degrees=st.integers(1, 60))
def test_coverage_is_that_of_scipy(t: float, degrees: int) -> None:
    expected = 1 - 2 * stats.t.sf(t, degrees)
    assert student_coverage(t, degrees) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("degrees", [1, 2, 3, 8, 29])
def test_quantile_is_that_of_scipy(coverage: float, degrees: int) -> None:
    expected = stats.t.ppf((1 + coverage) / 2, degrees)
    assert student_quantile(coverage, degrees) == pytest.approx(expected, rel=1e-9)


def test_two_degrees_of_freedom_have_a_formula_of_their_own() -> None:
    # P(|T| <= t) = t / sqrt(2 + t^2) for two degrees of freedom: at t = 2 it is 2 / sqrt(6).
    assert student_coverage(2.0, 2) == pytest.approx(2 / math.sqrt(6))


@pytest.mark.parametrize(("t", "degrees"), [(-1.0, 1), (1.0, 0)], ids=["negative t", "no freedom"])
def test_arguments_out_of_range_are_errors(t: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="Expected t >= 0 and degrees >= 1"):
        student_coverage(t, degrees)


@pytest.mark.parametrize("coverage", [-0.1, 1.0])
def test_coverage_out_of_range_is_an_error(coverage: float) -> None:
    with pytest.raises(ValueError, match=r"Expected a coverage in \[0, 1\)"):
        student_quantile(coverage, 3)
