import numpy as np
import pytest

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.ingest.readers.lg import lg_frequencies, lg_model, lg_rates


def test_frequencies_are_those_of_the_residues() -> None:
    frequencies = dict(zip(STANDARD_RESIDUES, lg_frequencies(), strict=True))
    assert frequencies["A"] == pytest.approx(0.079066, abs=1e-6)
    assert frequencies["L"] == pytest.approx(0.099081, abs=1e-6)
    assert sum(frequencies.values()) == pytest.approx(1.0)


def test_rates_are_in_the_order_of_the_alphabet() -> None:
    # Exchangeabilities I-V 10.649107 and D-N 5.076149: their ratio is free of the scale.
    rates, frequencies = lg_rates(), lg_frequencies()
    place = STANDARD_RESIDUES.index
    first = rates[place("I"), place("V")] / frequencies[place("V")]
    second = rates[place("D"), place("N")] / frequencies[place("N")]
    assert first / second == pytest.approx(10.649107 / 5.076149)


def test_rows_sum_to_zero_and_one_replacement_is_expected_per_time() -> None:
    rates = lg_rates()
    np.testing.assert_allclose(rates.sum(axis=1), 0.0, atol=1e-12)
    assert -(lg_frequencies() @ np.diag(rates)) == pytest.approx(1.0)


def test_the_model_is_reversible() -> None:
    flow = lg_frequencies()[:, None] * lg_rates()
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)


@pytest.mark.parametrize("time", [0.0, 0.01, 1.0])
def test_the_decomposition_gives_the_matrix_exponential(time: float) -> None:
    # Oracle: (1 + Qt/2^20)^(2^20), by repeated squaring; its error is about (Qt)^2 / 2^21.
    model = lg_model()
    expected = np.linalg.matrix_power(np.eye(20) + lg_rates() * time / 2**20, 2**20)
    actual = (model.left * np.exp(model.eigenvalues * time)) @ model.right
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_long_times_lead_to_equilibrium() -> None:
    model = lg_model()
    chances = (model.left * np.exp(model.eigenvalues * 1000.0)) @ model.right
    np.testing.assert_allclose(chances, np.tile(model.frequencies, (20, 1)), atol=1e-9)
