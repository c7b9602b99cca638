"""Which family's HMM scores highest for each sequence.

Two passes, as in the protocol of Bileschi et al.: first HMMER's defaults, whose filters let through
what may be related, and its threshold E <= 10; then, for the sequences without a hit, no filter and
no threshold. Families are ranked by the bit score of the full sequence, not by E-values, which
differ between the passes. HMMs give no probability, so there is no calibrated confidence.

E-values are those of one search of all sequences together, so whether a weak hit of the first pass
counts depends a little on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein_robust.baselines.alignment import digital_sequences
from protein_robust.baselines.profile_hmm import OnProgress, Profiles

if TYPE_CHECKING:
    from pyhmmer.easel import AA
    from pyhmmer.plan7 import HMM, TopHits

MAX_LENGTH = 100_000
"""Residues of a target, beyond which HMMER refuses it."""
WINDOW_STEP = MAX_LENGTH // 2

MAX_E_VALUE = 10.0
NO_FILTER = {"bias_filter": False, "F1": 1.0, "F2": 1.0, "F3": 1.0, "Z": 1.0, "domZ": 1.0}
"""With one target an E-value is a p-value, so never above 10."""


@dataclass(frozen=True)
class Hits:
    """The two best families of N sequences.

    Attributes:
        prediction: class of the highest bit score, shape (N,), int64; -1 for no hit.
        bit_score: of the full sequence, shape (N,), float64; NaN for no hit.
        second_prediction: class of the next, shape (N,), int64; -1 where only one has a hit.
        second_bit_score: likewise, shape (N,), float64.
        is_first_pass: whether the first pass, with its filters and E <= 10, found it, shape (N,).
    """

    prediction: NDArray[np.int64]
    bit_score: NDArray[np.float64]
    second_prediction: NDArray[np.int64]
    second_bit_score: NDArray[np.float64]
    is_first_pass: NDArray[np.bool_]


def search_profiles(
    profiles: Profiles,
    sequences: Sequence[str],
    *,
    threads: int,
    on_progress: OnProgress | None = None,
) -> Hits:
    """Search sequences with every HMM (``hmmsearch``), in two passes.

    A sequence longer than `MAX_LENGTH` is searched in windows of that length that overlap by half,
    and has the best score of these.

    Args:
        profiles: the HMMs.
        sequences: residue letters, none empty.
        threads: of the search, at least 1; the hits do not depend on it.
        on_progress: told how far either pass is.

    Returns:
        The hits; of equal scores the first class counts.

    Raises:
        ValueError: if ``threads`` is below 1.
    """
    if threads < 1:
        raise ValueError(f"Expected `threads` of at least 1, got {threads}.")
    places = np.arange(len(sequences))
    best = _TopTwo(len(sequences))
    first = {"E": MAX_E_VALUE, "Z": float(max(len(sequences), 1)), "cpus": threads}
    _search(profiles, sequences, places, best, options=first, on_progress=on_progress)
    is_first_pass = np.isfinite(best.score[:, 0])
    second = {**NO_FILTER, "cpus": threads}
    missed = places[~is_first_pass]
    _search(profiles, sequences, missed, best, options=second, on_progress=on_progress)
    score = np.where(np.isfinite(best.score), best.score, np.nan)
    return Hits(best.family[:, 0], score[:, 0], best.family[:, 1], score[:, 1], is_first_pass)


class _TopTwo:
    """The two best classes of each sequence so far; a class is entered once for each."""

    def __init__(self, size: int) -> None:
        self.family = np.full((size, 2), -1, np.int64)
        self.score = np.full((size, 2), -np.inf)

    def enter(self, place: int, family: int, score: float) -> None:
        """Take note of a hit; one that only equals an earlier one stays behind it."""
        if score > self.score[place, 0]:
            self.score[place] = score, self.score[place, 0]
            self.family[place] = family, self.family[place, 0]
        elif score > self.score[place, 1]:
            self.score[place, 1], self.family[place, 1] = score, family


def _search(
    profiles: Profiles,
    sequences: Sequence[str],
    places: NDArray[np.int64],
    best: _TopTwo,
    *,
    options: dict[str, Any],
    on_progress: OnProgress | None,
) -> None:
    """Enter the hits of some of the sequences."""
    from pyhmmer.easel import Alphabet, DigitalSequenceBlock
    from pyhmmer.hmmer import hmmsearch

    if not len(places):
        return
    owner, windows = _windows(sequences, places)
    alphabet = Alphabet.amino()
    targets: Any = DigitalSequenceBlock(alphabet, digital_sequences(windows, alphabet))
    # Results come in the order of the queries, whatever the number of threads.
    for number, hits in enumerate(hmmsearch(profiles.hmms, targets, **options)):
        for place, score in _scores(hits, owner).items():
            best.enter(place, int(profiles.family[number]), score)
        if on_progress is not None:
            on_progress(number + 1, len(profiles.hmms))


def _scores(hits: TopHits[HMM[AA]], owner: NDArray[np.int64]) -> dict[int, float]:
    """The best score of each sequence that one HMM reports, over its windows."""
    scores: dict[int, float] = {}
    for hit in hits.reported:
        place = int(owner[int(hit.name)])
        scores[place] = max(hit.score, scores.get(place, hit.score))
    return scores


def _windows(
    sequences: Sequence[str], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """What is searched, and whose it is: a sequence itself, or windows of one that is too long."""
    owner, windows = [], []
    for place in places:
        sequence = sequences[place]
        last = max(len(sequence) - MAX_LENGTH, 0)
        begins = [*range(0, last, WINDOW_STEP), last]
        owner += [place] * len(begins)
        windows += [sequence[begin : begin + MAX_LENGTH] for begin in begins]
    return np.array(owner, dtype=np.int64), windows
