"""Checkpoints: what is kept, and what comes back. (What goes wrong: `test_checkpoint_faults`.)"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.training import (
    MEMORY_FILE,
    Checkpoints,
    FitOptions,
    TrainingState,
    checkpoint_digest,
    find_checkpoint,
    load_weights,
    make_optimizer,
    read_checkpoint,
)

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


def epochs(folder: Path) -> dict[str, int]:
    """What lies in the folder: the epoch of each checkpoint."""
    return {path.name: read_checkpoint(path)["epoch"] for path in folder.iterdir()}


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
        "last": [
            "checkpoint.json",
            "generators.safetensors",
            "optimizer.safetensors",
            "weights.safetensors",
        ],
    }


def test_weights_alone_can_be_loaded_with_what_a_reader_needs(tmp_path: Path) -> None:
    _, weights = saved(tmp_path)
    model = network(seed=9)
    content = load_weights(tmp_path / "last", model)
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    assert content["metadata"] == {"families": ["PF1", "PF2", "PF3"], "dilations": [1, 2]}


def test_the_last_ones_are_kept_newest_first(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, METADATA, keep=3)
    model, optimizer = trained()
    for epoch in range(5):
        checkpoints.save("last", model, optimizer, TrainingState(epoch))
    assert epochs(tmp_path) == {"last": 4, "last.1": 3, "last.2": 2}


def test_one_alone_may_be_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, METADATA, keep=1)
    model, optimizer = trained()
    for epoch in range(2):
        checkpoints.save("last", model, optimizer, TrainingState(epoch))
    assert epochs(tmp_path) == {"last": 1}


def test_none_to_keep_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected `keep` to be at least 1, got 0\."):
        Checkpoints(tmp_path, METADATA, keep=0)


def test_of_the_best_ones_only_the_newest_is_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, METADATA)
    for epoch in range(2):
        checkpoints.save("best", network(), None, TrainingState(epoch))
    assert epochs(tmp_path) == {"best": 1}


def test_at_the_end_one_of_each_stays(tmp_path: Path) -> None:
    saved(tmp_path, TrainingState(1))
    checkpoints, _ = saved(tmp_path, TrainingState(2))
    checkpoints.save("best", network(), None, TrainingState(1))
    checkpoints.finish()
    checkpoints.finish()
    assert epochs(tmp_path) == {"best": 1, "last": 2}


def test_to_finish_before_any_checkpoint_does_nothing(tmp_path: Path) -> None:
    Checkpoints(tmp_path, METADATA).finish()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_within_an_epoch_comes_back_bit_by_bit(tmp_path: Path) -> None:
    state = TrainingState(
        *(2, 1, 0.5, STATE.history),
        step=7,
        sums=(0.1 + 0.2, 1e-320, float("inf"), 2.0**60 + 256),
        seconds=1 / 3,
        halvings=1,
        rate_factor=0.7 / 3,
        rollbacks=2,
    )
    checkpoints, _ = saved(tmp_path, state)
    assert resumed(checkpoints) == state


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    model, optimizer = trained()
    checkpoints = Checkpoints(tmp_path, METADATA)
    torch.manual_seed(5)
    checkpoints.save("last", model, optimizer, STATE)
    expected = torch.rand(4)
    torch.manual_seed(6)
    resumed(checkpoints)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_random_numbers_of_a_gpu_go_on_where_they_were(tmp_path: Path) -> None:
    model = network().cuda()
    optimizer = make_optimizer(model, FitOptions())
    checkpoints = Checkpoints(tmp_path, METADATA)
    checkpoints.save("last", model, optimizer, STATE)
    expected = torch.rand(4, device="cuda")
    checkpoints.resume(model, optimizer)
    torch.testing.assert_close(torch.rand(4, device="cuda"), expected, rtol=0, atol=0)


def test_one_process_chooses_and_each_one_loads(tmp_path: Path) -> None:
    checkpoints, weights = saved(tmp_path)
    path = checkpoints.choose()
    assert path == tmp_path / "last"
    model = network(seed=9)
    assert checkpoints.load(path, model, make_optimizer(model, FitOptions())) == STATE
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)


def test_what_a_loss_remembers_is_kept(tmp_path: Path) -> None:
    model, optimizer = trained()
    checkpoints = Checkpoints(tmp_path, METADATA)
    checkpoints.save("last", model, optimizer, STATE, {"shares": torch.arange(6.0).view(2, 3)})
    memory = {"shares": torch.zeros(2, 3)}
    checkpoints.resume(model, optimizer, memory)
    torch.testing.assert_close(memory["shares"], torch.arange(6.0).view(2, 3), rtol=0, atol=0)
    message = r"Expected a memory of the shapes \{'shares': \(1, 3\)\}, got \{'shares': \(2, 3\)\}"
    with pytest.raises(InputError, match=message):
        checkpoints.resume(model, optimizer, {"shares": torch.zeros(1, 3)})


def test_the_files_may_be_read_by_whom_the_folder_says(tmp_path: Path) -> None:
    saved(tmp_path)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "last").iterdir()}
    assert modes == {(tmp_path / "last").stat().st_mode & 0o666}


def test_a_run_and_its_checkpoint_are_the_same_place(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoints")
    last = tmp_path / "checkpoints" / "last"
    assert find_checkpoint(tmp_path) == find_checkpoint(last) == last
    assert checkpoint_digest(tmp_path) == checkpoint_digest(last)


def test_the_digest_is_that_of_weights_and_memory(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path)
    model, optimizer = trained()
    weights = (tmp_path / "last" / "weights.safetensors").read_bytes()
    assert checkpoint_digest(tmp_path / "last") == hashlib.sha256(weights).hexdigest()
    checkpoints.save("last", model, optimizer, STATE, {"shares": torch.zeros(2)})
    weights += (tmp_path / "last" / MEMORY_FILE).read_bytes()
    assert checkpoint_digest(tmp_path / "last") == hashlib.sha256(weights).hexdigest()


def test_a_folder_without_a_checkpoint_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"last: Expected the folder of a trained run, got no weig"
    ):
        checkpoint_digest(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(InputError, match=r"Expected weights that fit the model, got .*stem\.weigh"):
        load_weights(tmp_path / "last", network(width=6))


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


def test_the_end_of_an_epoch_begins_the_next_one_and_keeps_what_was_learnt_of_the_machine() -> None:
    within = TrainingState(
        *(1, 1, 0.5, ({},)), step=3, sums=(1.0,), seconds=2.0,
        halvings=1, rate_factor=0.5, rollbacks=1,
    )  # fmt: skip
    state, _ = within.after({})
    assert state == TrainingState(*(2, 1, 0.5, ({}, {})), halvings=1, rate_factor=0.5, rollbacks=1)
