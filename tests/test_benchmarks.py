"""The benchmark of training: it runs without the heavy packages, and compares what it says."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.evaluation import predict
from protein_robust.models import ProtCNNConfig

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPT = FOLDER / "training.py"
NAMES = (
    "convolutions",
    "device_checks",
    "plain_protcnn",
    "race",
    "training",
    "training_data",
    "training_memory",
    "training_steps",
    "training_tables",
    "turns",
)
CONFIG = ProtCNNConfig(width=8, kernel_size=3, dilations=(1, 2))


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The scripts, imported as they import each other, and forgotten afterwards."""
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in {*NAMES, "ingest_jobs"} - known:
            sys.modules.pop(name, None)


@pytest.fixture
def field(scripts: SimpleNamespace) -> Any:
    return make_field(scripts, lengths=np.array([5, 9, 30, 12, 7, 30, 3]))


def make_field(scripts: SimpleNamespace, *, lengths: NDArray[np.int64]) -> Any:
    """A small network and sequences of these lengths, in batches of up to 3."""
    examples = scripts.training_data.random_examples(lengths, 4, np.random.default_rng(0))
    batches = scripts.training_data.make_batches(examples, batch_size=3, device="cpu", seed=0)
    return scripts.training_steps.Field(CONFIG, examples, batches, "cross_entropy", "fp32", 0)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script where MLflow, matplotlib and Biopython cannot be imported."""
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(['mlflow', 'matplotlib', 'Bio'])); "
        f"sys.path[0] = {str(FOLDER)!r}; sys.argv[0] = {str(SCRIPT)!r}; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "--device", "cpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_runs_without_mlflow_matplotlib_and_biopython(tmp_path: Path) -> None:
    small = ["--width", "8", "--classes", "5", "--batch-size", "4", "--sequences", "40"]
    short = ["--rounds", "2", "--clock", "cpu", "--stored", "3000", "--part", "ours"]
    profile = tmp_path / "profile.txt"
    more = ["--loss", "proselflc", "--part", "memory", "--profile", str(profile), "--json"]
    done = run(*small, *short, *more)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["about"]["width"], printed["about"]["loss"]) == (8, "proselflc")
    (step,) = printed["tables"]["training, 40 sequences a pass"]
    assert step["what"] == "our step"
    assert float(step["sequences/s"].replace(",", "")) * step["seconds"] == pytest.approx(40, 0.01)
    assert all(row["value"] > 0 for row in printed["tables"]["memory"])
    assert "conv" in profile.read_text(encoding="utf-8")


def tables_of(scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, *parts: str) -> Any:
    """What is made of these parts, all in this process."""

    @contextmanager
    def here(names: Iterable[str], build: Any, options: Namespace) -> Iterator[Any]:
        yield {name: scripts.race.Local(build(options, name), options) for name in names}

    arguments = [word for part in parts for word in ("--part", part)]
    sizes = ["--width", "4", "--batch-size", "4", "--sequences", "24", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["training.py", *arguments, *sizes, "--device", "cpu"])
    options = scripts.training.parse()
    monkeypatch.setattr(scripts.training_steps, "prepare", lambda _: None)
    monkeypatch.setattr(scripts.training_tables, "processes", here)
    product = scripts.convolutions.MatrixProduct(32)
    monkeypatch.setattr(scripts.training_steps, "matrix_product", lambda _: product)
    field = scripts.training_steps.make_field(options, options.sequences)
    return scripts.training_tables.make_tables(options, field)


@pytest.mark.slow
def test_every_part_has_its_rows(scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("reference", "ours", "convolutions", "assembly", "inference")
    training, ratios, inference = tables_of(scripts, monkeypatch, *parts).values()
    assert (len(training), len(inference)) == (8, 3)
    assert all(row["seconds"] > 0 for row in training + inference)
    aims = ["at least 4", "at most 0.03", "at least 0.6", "-", "-", "-"]
    assert [row["aim"] for row in ratios] == aims
    assert all(row["ratio"] > 0 for row in ratios)


def test_a_part_that_is_asked_for_is_measured_alone(
    scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((title, (row,)),) = tables_of(scripts, monkeypatch, "assembly").items()
    assert (title, row["what"]) == ("training, 24 sequences a pass", "planning and cutting")


def test_batches_are_counted(scripts: SimpleNamespace) -> None:
    field = make_field(scripts, lengths=np.array([8, 4, 16, 4]))  # in batches of 3 and 1
    counted = scripts.training_tables.batch_facts(field)
    # Sorted: 4, 4, 8 and 16, so 8 positions of 3 x 8 + 16 are not residues.
    assert list(counted.values()) == [4, 2, 2, 1 - 32 / 40]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: expected at least 1"),
        (["--batch-size", "0"], "--batch-size: expected at least 1"),
        (["--classes", "1"], "--classes: expected at least 2"),
        (["--device", "cuda", "--clock", "cpu"], "--clock cpu: does not see what a GPU does"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_numbers_are_refused(
    scripts: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in arguments)
    monkeypatch.setattr(sys, "argv", ["training.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        scripts.training.parse()
    assert message in capsys.readouterr().err


def test_lengths_have_the_stated_mean_and_limits(scripts: SimpleNamespace) -> None:
    lengths = scripts.training_data.draw_lengths(100_000, np.random.default_rng(0))
    # Standard error: 155 sqrt(exp(0.7^2) - 1) / sqrt(100,000) = 0.4; whole residues cost 0.5.
    assert lengths.mean() == pytest.approx(154.5, abs=1.2)
    assert (lengths.min(), lengths.max()) == (20, 2000)


def test_lengths_may_come_from_a_file(scripts: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "lengths.npy"
    np.save(path, np.array([3, 8]))
    drawn = scripts.training_data.read_lengths(str(path), 100, np.random.default_rng(0))
    assert set(drawn) == {3, 8}
    assert drawn.shape == (100,)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.5]), "whole numbers of at least 1, got 1 of float64, the least 1.5"),
        (np.array([4, 0]), "whole numbers of at least 1, got 2 of int64, the least 0"),
        (np.zeros(0, dtype=np.int64), "whole numbers of at least 1, got 0 of int64."),
        (None, "an array of lengths"),
    ],
    ids=["fractions", "zero", "none", "no array"],
)
def test_a_file_of_anything_else_is_refused(
    scripts: SimpleNamespace, tmp_path: Path, array: NDArray[Any] | None, message: str
) -> None:
    path = tmp_path / "lengths.npy"
    if array is None:
        path.write_text("3 8")
    else:
        np.save(path, array)
    with pytest.raises(InputError, match=re.escape(message)):
        scripts.training_data.read_lengths(str(path), 2, np.random.default_rng(0))


def test_the_same_seed_draws_the_same_data(scripts: SimpleNamespace) -> None:
    first, again, other = (
        scripts.training_data.random_column(
            np.array([4, 6]), np.random.default_rng(seed)
        ).to_pylist()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert [len(sequence) for sequence in first] == [4, 6]


def test_both_steps_see_every_sequence_once_a_pass(scripts: SimpleNamespace, field: Any) -> None:
    parts = [part() for parts in scripts.training_data.cut(field.batches, 0) for part in parts]
    assert sorted(torch.cat([part.index for part in parts]).tolist()) == list(range(7))
    assert sum(size for size, _ in field.shapes(0)) == 7
    assert sum(len(batch.label) for batch in field.plain_loader(3)) == 7


def test_passes_of_our_step_lower_the_loss(scripts: SimpleNamespace, field: Any) -> None:
    work = scripts.training_steps.ours(field)
    sums = [float(torch.stack(list(work(number)))[:, 0].sum()) for number in range(40)]
    assert sums[-1] < sums[0] / 2


def test_passes_of_the_plain_step_lower_the_loss(scripts: SimpleNamespace, field: Any) -> None:
    work = scripts.training_steps.reference(field)
    means = [float(torch.stack(list(work(number))).mean()) for number in range(40)]
    assert means[-1] < means[0] / 2


def test_contestants_take_turns(scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, done = count(), list[str]()  # a second each time it is read
    monkeypatch.setitem(scripts.race.CLOCKS, "wall", lambda: next(clock))

    def runner(name: str, num_batches: int) -> Any:
        def work(number: int) -> Iterator[None]:
            for _ in range(num_batches):
                done.append(f"{name}{number}")
                yield

        return scripts.race.Local(work, Namespace(turn=2, clock="wall", device="cpu"))

    runners = {"a": runner("a", 3), "b": runner("b", 5)}
    seconds = scripts.race.race(runners, rounds=1, warmup=1)
    assert "".join(done) == "a0a0b0b0a0b0b0b0" + "a1a1b1b1a1b1b1b1"
    # The clock is read at the beginning, after each batch, and at the end: 3 + 2, 3 + 3 + 2.
    assert seconds == {"a": [5], "b": [8]}


def test_the_ratio_is_of_medians_and_its_range_of_rounds(scripts: SimpleNamespace) -> None:
    seconds = {"plain": [4.0, 9.0, 6.0], "ours": [2.0, 3.0, 1.0]}
    raced = scripts.training_tables.Raced(seconds, 1, 1, 1.0, {})
    # Medians 6 and 2; rounds 2, 3 and 6; all times 2.
    assert raced.ratio("plain", "ours", factor=2) == {"ratio": 6, "min .. max": "4.000 .. 12.000"}
    assert raced.fastest(("plain", "ours")) == "ours"


def test_a_fasta_file_gives_the_predictions_of_its_sequences(
    scripts: SimpleNamespace, field: Any
) -> None:
    steps = scripts.training_steps
    (found,) = steps.fasta_inference(field)(0)
    expected = predict(field.model(), steps.sorted_batches(field, field.batches.dataset))
    assert found.prediction.tolist() == expected.prediction.tolist()
    assert found.max_probability.tolist() == expected.max_probability.tolist()


def test_forward_passes_classify_every_sequence(scripts: SimpleNamespace, field: Any) -> None:
    steps = scripts.training_steps
    for contestant in (steps.our_inference(field), steps.plain_inference(field)):
        assert sum(len(classes) for classes in contestant(0)) == 7


def test_the_logits_of_one_device_equal_themselves(scripts: SimpleNamespace, field: Any) -> None:
    assert scripts.device_checks.logit_error(field) == 0


@pytest.mark.slow
def test_the_check_sees_a_model_memorise(scripts: SimpleNamespace, field: Any) -> None:
    assert scripts.device_checks.check_device(field)[1]


@pytest.mark.parametrize(
    ("losses", "error"),
    [([2.0] * 30, 0.0), ([2.0] * 29 + [float("nan")], 0.0), ([2.0] * 25 + [1.0] * 5, 1e-3)],
    ids=["loss does not fall", "loss is not finite", "logits differ"],
)
def test_the_check_fails_where_it_should(
    scripts: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    *,
    losses: list[float],
    error: float,
) -> None:
    monkeypatch.setattr(scripts.device_checks, "memorise", lambda _: np.array(losses))
    monkeypatch.setattr(scripts.device_checks, "logit_error", lambda _: error)
    assert not scripts.device_checks.check_device(None)[1]
