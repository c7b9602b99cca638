"""The benchmark of the losses: what it times is what it says, and so is the memory."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn import functional

from protein_robust.losses import LOSSES, LossContext

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def turns() -> Iterator[ModuleType]:
    yield from load("turns")


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from load("losses")


def load(name: str) -> Iterator[ModuleType]:
    """Import a script as its neighbours in the folder do, and forget it afterwards."""
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
        for module in ("losses", "turns", "training_data"):
            if module not in known:
                sys.modules.pop(module, None)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "losses.py"), "--device", "cpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


SMALL = ["--rounds", "3", "--warmup", "1", "--batch-size", "8", "--classes", "50"]


@pytest.mark.slow
def test_it_measures_every_loss_and_its_memory() -> None:
    done = run(*SMALL, "--part", "alone", "--part", "memory", "--json")
    assert done.returncode == 0, done.stderr
    alone, memory = json.loads(done.stdout)["tables"].values()
    assert {row["loss"] for row in alone} >= set(LOSSES)
    assert all(row["ms"] > 0 and row["ratio"] > 0 for row in alone)
    assert {row["loss"] for row in memory} >= {"F.cross_entropy", *LOSSES}
    assert all(row["arrays"] > 1 for row in memory)  # the gradient itself is one


@pytest.mark.slow
def test_it_measures_training_steps(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "SETTINGS", (("tiny", 4, 5, 4),))
    monkeypatch.setattr(script, "keep_freed_memory", lambda: None)  # of the script's process only
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    chosen = ["--loss", "proselflc", "--rounds", "2", "--warmup", "1"]
    monkeypatch.setattr(sys, "argv", ["losses.py", "--part", "step", "--device", "cpu", *chosen])
    assert script.main() == 0
    printed = capsys.readouterr().out
    assert "step: tiny, width 4, K = 5, B = 4" in printed
    assert printed.count("| proselflc") == 3  # itself and its variants


@pytest.mark.slow
def test_wrong_numbers_are_refused() -> None:
    done = run("--classes", "1")
    assert done.returncode == 2
    assert "--classes of at least 2" in done.stderr


def test_a_loss_chosen_brings_its_variants(script: ModuleType) -> None:
    titles = list(script.chosen(["confidence_penalty"]))
    assert titles == ["confidence_penalty", "confidence_penalty, T = 0.4"]
    assert set(script.chosen(None)) == {*LOSSES, *script.VARIANTS}


@pytest.mark.parametrize("name", list(LOSSES))
def test_each_loss_gets_what_it_asks_for(script: ModuleType, name: str) -> None:
    index = torch.arange(4)
    case = script.make_case(name, {}, index=index, num_examples=9, num_classes=6)
    logits = torch.randn(4, 6, requires_grad=True)
    case(logits, torch.tensor([0, 1, 2, 5])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_baseline_is_the_mean_of_the_cross_entropy(script: ModuleType) -> None:
    logits, labels = torch.randn(4, 6), torch.tensor([0, 1, 2, 5])
    case = script.Case(None, LossContext(0.5, torch.arange(4)))
    assert case(logits, labels) == functional.cross_entropy(logits, labels, reduction="mean")


def test_each_takes_its_turn_to_be_first(turns: ModuleType) -> None:
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    seconds = turns.interleave(runs, rounds=2, warmup=1, device="cpu")
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(every) for name, every in seconds.items()} == {"a": 2, "b": 2}


def test_the_ratio_is_of_medians_and_the_spread_of_rounds(turns: ModuleType) -> None:
    seconds = {"loss": [3.0, 4.0, 50.0, 6.0, 2.0], "baseline": [2.0, 2.0, 10.0, 2.0, 1.0]}
    assert turns.ratio(seconds, "loss", "baseline") == 2  # 4 / 2
    # Of 1.5, 2, 2, 3, 5 the second and the fourth.
    assert turns.spread(seconds, "loss", "baseline") == "2.000 .. 3.000"


@pytest.mark.slow
def test_the_peak_is_of_what_is_held_at_a_time(turns: ModuleType) -> None:
    def allocate() -> None:
        first = torch.empty(1000, 256)
        del first
        pair = torch.empty(1000, 256), torch.empty(500, 256)
        del pair

    assert turns.peak_bytes(allocate, "cpu") == 1500 * 256 * 4
