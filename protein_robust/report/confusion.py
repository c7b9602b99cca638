"""Predictions counted by true and predicted clan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NO_ANSWER = "no answer"
"""Stands for a missing prediction, as of a search without a hit."""


@dataclass(frozen=True)
class Confusion:
    """Predictions by clan, of one method.

    Attributes:
        clans: names, of length G; a class without a clan is one of its own.
        totals: predictions for each true clan, shape (G,), int64.
        true: true clan of each kind of error between clans, shape (P,), int64.
        predicted: the clan that was predicted, shape (P,), int64.
        numbers: how often, shape (P,), int64, above 0.
        num_within: wrong predictions of another class of the true clan.
    """

    clans: Sequence[str]
    totals: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    numbers: NDArray[np.int64]
    num_within: int

    @property
    def num_between(self) -> int:
        """Wrong predictions of another clan."""
        return int(self.numbers.sum())

    @property
    def num_predictions(self) -> int:
        """All of them."""
        return int(self.totals.sum())

    @property
    def num_wrong(self) -> int:
        """Both kinds."""
        return self.num_within + self.num_between


def known_clan(clans: Mapping[str, str | None], name: str) -> str | None:
    """Look up the clan of a class; a missing value of a table is none."""
    clan = clans.get(name)
    return clan if isinstance(clan, str) and clan else None


def confuse(predictions: pd.DataFrame, clans: Mapping[str, str | None]) -> Confusion:
    """Count predictions by true and predicted clan.

    Only pairs that occur are kept, so that thousands of clans need no square matrix.

    Args:
        predictions: columns ``clean_label`` and ``prediction``, accessions of classes; a missing
            prediction is an error between clans, with `NO_ANSWER` in the place of the other clan.
        clans: clan of each class; None, or none listed, makes the class a clan of its own.

    Returns:
        The counts; clans are in the order of their names.
    """
    pair = predictions[["clean_label", "prediction"]].astype(object).fillna(NO_ANSWER)
    classes = pd.unique(pair.to_numpy().ravel())
    clan_of = {name: known_clan(clans, name) or name for name in classes}
    names = sorted(set(clan_of.values()))
    number = {name: place for place, name in enumerate(names)}
    true, predicted = (pair[name].map(clan_of).map(number).to_numpy(np.int64) for name in pair)
    is_between = true != predicted
    codes, numbers = np.unique((true * len(names) + predicted)[is_between], return_counts=True)
    is_wrong = (pair["clean_label"] != pair["prediction"]).to_numpy(np.bool_)
    return Confusion(
        clans=names,
        totals=np.bincount(true, minlength=len(names)),
        true=codes // len(names),
        predicted=codes % len(names),
        numbers=numbers,
        num_within=int((is_wrong & ~is_between).sum()),
    )


def confused_pairs(confusion: Confusion) -> list[tuple[str, str, int]]:
    """List the pairs of clans that are taken for each other, both directions together.

    Args:
        confusion: of one method.

    Returns:
        Two names and the number of errors, the most first.
    """
    size = len(confusion.clans)
    low = np.minimum(confusion.true, confusion.predicted)
    high = np.maximum(confusion.true, confusion.predicted)
    codes, places = np.unique(low * size + high, return_inverse=True)
    sums = np.bincount(places, weights=confusion.numbers, minlength=len(codes)).astype(np.int64)
    order = np.argsort(-sums, kind="stable")
    return [
        (confusion.clans[codes[i] // size], confusion.clans[codes[i] % size], int(sums[i]))
        for i in order
    ]
