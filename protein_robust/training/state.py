"""How far a training has come: what a checkpoint says of it besides its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        best_epoch: the one with the highest validation accuracy, counted from 1; 0 before any.
        best_value: that accuracy.
        history: a record for each epoch done, oldest first.
        step: updates done in the epoch that is under way; 0 between two epochs.
        sums: running figures of that epoch.
        seconds: spent in that epoch so far.
        halvings: how often the budget of a part was halved for lack of memory.
        rate_factor: of the learning rate, in (0, 1], after roll-backs.
        rollbacks: how often the training went back to a checkpoint since its loss was not finite.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    history: tuple[Mapping[str, Any], ...] = field(default=())
    step: int = 0
    sums: tuple[float, ...] = ()
    seconds: float = 0.0
    halvings: int = 0
    rate_factor: float = 1.0
    rollbacks: int = 0

    def after(self, record: Mapping[str, Any]) -> tuple[TrainingState, bool]:
        """The state at the end of an epoch, and whether that epoch is the best so far.

        Of equal validation accuracies the first counts.
        """
        done = self.epoch + 1
        history = (*self.history, dict(record))
        state = replace(self, epoch=done, history=history, step=0, sums=(), seconds=0.0)
        value = record.get("valid/accuracy", float("-inf"))
        if value > self.best_value:
            return replace(state, best_epoch=done, best_value=value), True
        return state, False

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON has them; floats come back from there bit by bit.

        Example:
            >>> TrainingState.from_json(TrainingState(epoch=2).as_json()) == TrainingState(epoch=2)
            True
        """
        best = self.best_value if self.best_epoch else None  # JSON has no infinity
        return {**vars(self), "best_value": best, "history": [dict(r) for r in self.history]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingState:
        """The state that `as_json` gave; `content` may have other things beside it."""
        values = {entry.name: content[entry.name] for entry in fields(cls)}
        if values["best_value"] is None:
            values["best_value"] = float("-inf")
        values |= {"history": tuple(values["history"]), "sums": tuple(values["sums"])}
        return cls(**values)
