"""The benchmark script: it runs without the heavy packages, and its draws and checks are right."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from protein_robust.models import ProtCNN, ProtCNNConfig

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "training_step.py"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_step", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["training_step"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script where MLflow, matplotlib and Biopython cannot be imported."""
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(['mlflow', 'matplotlib', 'Bio'])); "
        f"sys.argv[0] = {str(SCRIPT)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_measures_what_it_says_without_mlflow_matplotlib_and_biopython() -> None:
    small = ["--device", "cpu", "--width", "8", "--classes", "5", "--steps", "3", "--warmup", "1"]
    done = run(*small, "--loss", "proselflc", "--batch-size", "4", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["steps"], printed["sequences"], printed["loss"]) == (3, 12, "proselflc")
    assert 0 <= printed["padding fraction"] < 1
    # Residues a second over sequences a second is residues a sequence.
    ratio = printed["residues a second"] / printed["sequences a second"]
    assert ratio == pytest.approx(printed["mean length (residues)"])
    seconds = printed["milliseconds a step"] * printed["steps"] / 1000
    assert printed["sequences a second"] * seconds == pytest.approx(12)


@pytest.mark.slow
def test_a_number_below_one_is_refused() -> None:
    done = run("--device", "cpu", "--steps", "0")
    assert done.returncode == 2
    assert "at least 1" in done.stderr


def test_lengths_have_the_stated_mean_and_limits(script: ModuleType) -> None:
    lengths = script.draw_lengths(100_000, np.random.default_rng(0))
    # Standard error: 155 sqrt(exp(0.7^2) - 1) / sqrt(100,000) = 0.4; whole residues cost 0.5.
    assert lengths.mean() == pytest.approx(154.5, abs=1.2)
    assert (lengths.min(), lengths.max()) == (20, 2000)


def test_the_same_seed_draws_the_same_data(script: ModuleType) -> None:
    first, again, other = (
        script.random_dataset(5, 3, device=CPU, seed=seed).tokens.tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_logits_of_one_device_equal_themselves(script: ModuleType) -> None:
    model = ProtCNN(ProtCNNConfig(width=8), 5, generator=torch.Generator().manual_seed(0))
    assert script.logit_error(model, CPU, seed=0) == 0


@pytest.mark.slow
def test_the_check_sees_a_model_memorise(script: ModuleType) -> None:
    rows, is_right = script.check_device(ProtCNN(ProtCNNConfig(width=8), 5), CPU, seed=0)
    assert is_right
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("losses", "error"),
    [([2.0] * 30, 0.0), ([2.0] * 29 + [float("nan")], 0.0), ([2.0] * 25 + [1.0] * 5, 1e-3)],
    ids=["loss does not fall", "loss is not finite", "logits differ"],
)
def test_the_check_fails_where_it_should(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, losses: list[float], error: float
) -> None:
    monkeypatch.setattr(script, "memorise", lambda *_, **__: np.array(losses))
    monkeypatch.setattr(script, "logit_error", lambda *_, **__: error)
    _, is_right = script.check_device(ProtCNN(ProtCNNConfig(width=8), 5), CPU, seed=0)
    assert not is_right
