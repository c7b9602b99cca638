"""What processes that train together agree on; alone, nothing of it has an effect."""

from __future__ import annotations

import multiprocessing
import os
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from protein_robust import ranks
from protein_robust.errors import InputError

PATIENCE_SECONDS = 120
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["protein_robust.noise", "protein_robust.training", "pytest"])


def work(rank: int, num_ranks: int, port: int, out: Path, task: Callable[..., Any]) -> None:
    """What one of several processes does: the environment is as `torchrun` makes it."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_ranks, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    with ranks.join(use_cuda=False):
        result = task()
    torch.save(result, out)


def together(folder: Path, num_ranks: int, task: Callable[..., Any]) -> list[Any]:
    """Let several processes do something together.

    Args:
        folder: for what they give back.
        num_ranks: how many.
        task: a function of a module (or a partial of one), whose result is tensors and plain data.

    Returns:
        What each gave back, rank 0 first.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    outs = [folder / f"rank{rank}.pt" for rank in range(num_ranks)]
    processes = [
        FORK.Process(target=work, args=(rank, num_ranks, port, out, task))
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
        process.kill()  # has no effect on one that has ended
        process.join()
    assert [process.exitcode for process in processes] == [0] * num_ranks
    return [torch.load(out, weights_only=True) for out in outs]


def test_alone_there_is_one_process() -> None:
    assert (ranks.are_several(), ranks.rank(), ranks.num_ranks()) == (False, 0, 1)


def test_alone_everything_stays_as_it_is() -> None:
    values = torch.tensor([[1.0, 2.0]])
    assert ranks.add_up(values) is values
    assert ranks.gather_rows(values) is values
    assert ranks.gather(values).tolist() == [[[1.0, 2.0]]]
    assert ranks.largest(-3) == -3
    assert ranks.from_first("a") == "a"
    assert ranks.from_any(["a"]) == ["a"]
    ranks.wait_for_all()


@pytest.mark.parametrize("size", [None, "1"])
def test_alone_there_is_nobody_to_meet(monkeypatch: pytest.MonkeyPatch, size: str | None) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    with ranks.join():
        assert not ranks.are_several()


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "100")
    monkeypatch.setenv("LOCAL_RANK", "99")
    message = r"Expected a GPU for local rank 99, got \d+ of them here"
    with pytest.raises(InputError, match=message), ranks.join(use_cuda=True):
        pass


def agree() -> dict[str, Any]:
    """Everything that can be agreed on; rank r has r rows, and r + 1 as its number."""
    rank = ranks.rank()
    own = torch.tensor([rank + 1.0])
    with ranks.join(use_cuda=False):  # within another one it has no effect
        agreed = {
            "are_several": ranks.are_several(),
            "num_ranks": ranks.num_ranks(),
            "rank": rank,
            "sum": ranks.add_up(own),
            "own": own,
            "largest": ranks.largest(10 * rank),
            "first": ranks.from_first({"rank": rank}),
            "any": ranks.from_any(["a", "b"] if rank == 1 else []),
            "none": ranks.from_any([]),
            "gathered": ranks.gather(own),
            "rows": ranks.gather_rows(torch.full((rank, 2), rank)),
            "no rows": ranks.gather_rows(torch.zeros(0, 3)),
        }
    ranks.wait_for_all()
    assert ranks.are_several()
    return agreed


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_together_all_have_the_same(tmp_path: Path, num_ranks: int) -> None:
    results = together(tmp_path, num_ranks, agree)
    numbers = range(1, num_ranks + 1)
    for rank, result in enumerate(results):
        assert (result["are_several"], result["num_ranks"]) == (True, num_ranks)
        assert (result["rank"], result["own"].tolist()) == (rank, [rank + 1.0])
        assert result["sum"].tolist() == [sum(numbers)]
        assert result["largest"] == 10 * (num_ranks - 1)
        assert result["first"] == {"rank": 0}
        assert (result["any"], result["none"]) == (["a", "b"], [])
        assert result["gathered"].tolist() == [[n] for n in numbers]
        # Rank 0 has none.
        assert result["rows"].tolist() == [[r, r] for r in range(num_ranks) for _ in range(r)]
        assert result["no rows"].shape == (0, 3)
