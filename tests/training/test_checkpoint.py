"""Checkpoints: what is kept, what is refused, and what a crash leaves behind."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    TrainingState,
    load_weights,
    make_optimizer,
)
from protein_robust.training.checkpoint import read_checkpoint

METADATA = {"families": ["PF1", "PF2", "PF3"], "dilations": (1, 2)}
STATE = TrainingState(2, 1, 0.5, ({"epoch": 1.0, "valid/accuracy": 0.5}, {"epoch": 2.0}))
INPUTS = torch.arange(18, dtype=torch.uint8).view(3, 6)
MASK = torch.ones(3, 6, dtype=torch.bool)


def network(seed: int = 0, width: int = 4) -> ProtCNN:
    config = ProtCNNConfig(width=width, dilations=(1, 2))
    return ProtCNN(config, 3, generator=torch.Generator().manual_seed(seed))


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(INPUTS, MASK), torch.arange(3)).backward()
    optimizer.step()


def trained(name: str = "adamw") -> tuple[ProtCNN, torch.optim.Optimizer]:
    """A network after two updates, so that the optimiser has a state."""
    model = network()
    optimizer = make_optimizer(model, FitOptions(optimizer=name))  # type: ignore[arg-type]
    update(model, optimizer)
    update(model, optimizer)
    return model, optimizer


def saved(folder: Path, state: TrainingState = STATE) -> tuple[Checkpoints, dict[str, Tensor]]:
    """Checkpoints with a `last` one, and the weights in it."""
    checkpoints = Checkpoints(folder, METADATA)
    model, optimizer = trained()
    checkpoints.save("last", model, optimizer, state)
    return checkpoints, model.state_dict()


def resumed(checkpoints: Checkpoints, model: nn.Module | None = None) -> TrainingState:
    model = network(seed=9) if model is None else model
    return checkpoints.resume(model, make_optimizer(model, FitOptions()))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weights_state_and_the_next_update_come_back_exactly(tmp_path: Path, name: str) -> None:
    model, optimizer = trained(name)
    checkpoints = Checkpoints(tmp_path, METADATA)
    checkpoints.save("last", model, optimizer, STATE)
    again = network(seed=9)
    options = FitOptions(optimizer=name)  # type: ignore[arg-type]
    other = make_optimizer(again, options)
    assert checkpoints.resume(again, other) == STATE
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    # The optimiser's state shows in what it does next.
    update(model, optimizer)
    update(again, other)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_the_optimiser_s_state_lies_in_memory_as_the_weights_do(tmp_path: Path) -> None:
    # Fused optimisers go by address: another layout pairs weights with the state of others.
    checkpoints, _ = saved(tmp_path)
    model = network()
    optimizer = make_optimizer(model, FitOptions())
    checkpoints.resume(model, optimizer)
    weight = model.stem.weight
    assert optimizer.state[weight]["exp_avg"].stride() == weight.stride()


def test_without_a_checkpoint_a_training_begins_anew(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "none", METADATA)
    assert resumed(checkpoints) == TrainingState()
    assert checkpoints.history() == ()


def test_the_history_can_be_read_alone(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path)
    assert checkpoints.history() == STATE.history


def test_before_any_validation_there_is_no_best_value(tmp_path: Path) -> None:
    state = TrainingState(1, 0, float("-inf"), ({"epoch": 1.0},))
    checkpoints, _ = saved(tmp_path, state)
    assert read_checkpoint(tmp_path / "last")["best_value"] is None
    assert resumed(checkpoints) == state


def test_best_is_kept_beside_last_without_the_optimiser(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path)
    checkpoints.save("best", network(seed=5), None, STATE)
    names = {p.name: sorted(f.name for f in p.iterdir()) for p in tmp_path.iterdir()}
    assert names == {
        "best": ["checkpoint.json", "weights.safetensors"],
        "last": ["checkpoint.json", "optimizer.safetensors", "weights.safetensors"],
    }


def test_weights_alone_can_be_loaded_with_what_a_reader_needs(tmp_path: Path) -> None:
    _, weights = saved(tmp_path)
    model = network(seed=9)
    content = load_weights(tmp_path / "last", model)
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    assert content["metadata"] == {"families": ["PF1", "PF2", "PF3"], "dilations": [1, 2]}


def test_saving_replaces_the_one_before_and_a_leftover_of_a_crash(tmp_path: Path) -> None:
    for leftover in ("last.partial", "last.older"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "rubbish").touch()
    saved(tmp_path, TrainingState(1))
    checkpoints, _ = saved(tmp_path, TrainingState(2))
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert "rubbish" not in {path.name for path in (tmp_path / "last").iterdir()}
    assert resumed(checkpoints).epoch == 2


def test_a_crash_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, _ = saved(tmp_path, TrainingState(1))

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fails)
        with pytest.raises(OSError, match="disk full"):
            saved(tmp_path, TrainingState(2))
    assert resumed(checkpoints).epoch == 1


@pytest.mark.parametrize("way", ["resume", "history"])
def test_a_crash_between_the_two_renames_brings_the_older_one_back(
    tmp_path: Path, way: str
) -> None:
    checkpoints, _ = saved(tmp_path)
    (tmp_path / "last").rename(tmp_path / "last.older")
    found = resumed(checkpoints).history if way == "resume" else checkpoints.history()
    assert found == STATE.history
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_best_one_lost_between_two_renames_comes_back_too(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path)
    checkpoints.save("best", network(), None, STATE)
    (tmp_path / "best").rename(tmp_path / "best.older")
    resumed(checkpoints)
    assert read_checkpoint(tmp_path / "best")["epoch"] == 2


def test_a_checkpoint_of_another_training_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    saved(tmp_path)
    model = network(seed=9)
    with pytest.raises(
        InputError, match=r"last: Expected a checkpoint of this very training, got one made with"
    ):
        resumed(Checkpoints(tmp_path, {**METADATA, "families": ["PF1"]}), model)
    torch.testing.assert_close(model.state_dict(), network(seed=9).state_dict(), rtol=0, atol=0)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(InputError, match=r"Expected weights that fit the model, got .*stem\.weigh"):
        load_weights(tmp_path / "last", network(width=6))


@pytest.mark.parametrize("name", ["weights", "optimizer"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_file_of_tensors_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    checkpoints, _ = saved(tmp_path)
    path = tmp_path / "last" / f"{name}.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    message = rf"{name}\.safetensors: Expected a complete safetensors file, got "
    with pytest.raises(InputError, match=message):
        resumed(checkpoints)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "noise"}', r"Expected a checkpoint of schema version 1, got version None\."),
        ("[1, 2]", r"Expected a checkpoint of schema version 1, got version None\."),
        ('{"schema_version": 2}', r"Expected a checkpoint of schema version 1, got version 2\."),
        ('{"epoch": ', r"checkpoint\.json: Expected JSON, got Expecting value"),
        (None, r"checkpoint\.json: Expected a checkpoint, got no readable checkpoint\.json\."),
    ],
    ids=["foreign", "no object", "other version", "cut off", "missing"],
)
def test_a_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    checkpoints, _ = saved(tmp_path)
    (tmp_path / "last" / "checkpoint.json").unlink()
    if text is not None:
        (tmp_path / "last" / "checkpoint.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        resumed(checkpoints)


def test_nothing_is_pickled_or_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuses)
    monkeypatch.setattr(torch, "load", refuses)
    checkpoints, _ = saved(tmp_path)
    assert resumed(checkpoints) == STATE
    json.loads((tmp_path / "last" / "checkpoint.json").read_text(encoding="utf-8"))


def test_the_first_of_equally_good_epochs_is_the_best() -> None:
    first, is_best = TrainingState().after({"valid/accuracy": 0.5})
    second, is_better = first.after({"valid/accuracy": 0.5})
    assert (is_best, is_better) == (True, False)
    assert (second.epoch, second.best_epoch, second.best_value) == (2, 1, 0.5)


@pytest.mark.parametrize("record", [{}, {"valid/accuracy": float("nan")}], ids=["none", "nan"])
def test_an_epoch_without_validation_is_never_the_best(record: dict[str, float]) -> None:
    state, is_best = TrainingState().after(record)
    assert (state.epoch, state.best_epoch, is_best) == (1, 0, False)


def test_a_state_keeps_its_own_copy_of_a_record() -> None:
    record = {"epoch": 1.0}
    state, _ = TrainingState().after(record)
    record["epoch"] = 2.0
    assert state.history == ({"epoch": 1.0},)
