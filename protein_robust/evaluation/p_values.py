"""What chance would give: empirical p and q values from the scores of decoys.

They are called *empirical* and never E-values. An E-value, as HMMER gives it, is an expected number
of chance hits of one profile in a database of one size, from the tail of a distribution that was
fitted for that profile, so it reaches far below what was ever sampled. Here decoys are counted:
nothing is fitted, nothing is below 1 / (1 + number of decoys), and the chance that is meant is that
of the decoys. A true protein of an unknown family is no shuffled sequence: a small p says "not like
a decoy", and not "of this family".

Scores are the bigger, the more a sequence looks like those of the known families.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.evaluation.unknown import Scores, check_scores


@dataclass(frozen=True)
class Decoys:
    """Scores of decoys, by length.

    Long and short sequences score differently whatever they are, so a sequence is compared with
    decoys of about its length: those of its bin. A bin is a range of lengths.

    Attributes:
        score: bigger is more known, ascending in each bin, the bins one after the other, shape
            (n,), float64.
        begin: where each bin begins in ``score``, and n, shape (bins + 1,), int64.
        border: the least length of each bin but the first, ascending, shape (bins - 1,), int64.
    """

    score: Scores
    begin: NDArray[np.int64]
    border: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        score: Scores,
        length: NDArray[np.int64],
        *,
        max_bins: int = 20,
        least: int = 1000,
    ) -> Decoys:
        """Sort decoys into bins of about as many each.

        From the shortest to the longest, a bin ends as soon as it has n / ``max_bins`` decoys and
        ``least`` of them; decoys of one length stay together, and what is left at the end goes to
        the last bin. So the smallest p value, 1 / (1 + decoys of the bin), is at most 1 / (1 +
        ``least``) where there are that many decoys.

        Args:
            score: of each decoy, bigger is more known, shape (n,), floating, n at least 1.
            length: residues of each that the network saw, shape (n,), int64.
            max_bins: the most bins, at least 1.
            least: the fewest decoys of a bin, at least 1.

        Raises:
            ValueError: if there is no decoy, the shapes differ, a score is NaN, or a number is
                below 1.
        """
        _check_decoys(score, length, max_bins, least)
        ordered = np.sort(length)
        cuts = _cuts(ordered, max(least, -(-len(score) // max_bins)))
        border = ordered[cuts[1:]].astype(np.int64)
        bins = np.searchsorted(border, length, side="right")
        order = np.lexsort((score, bins))
        begin = np.array([*cuts, len(score)], dtype=np.int64)
        return cls(np.asarray(score, dtype=np.float64)[order], begin, border)


def _cuts(ordered: NDArray[np.int64], wanted: int) -> list[int]:
    """Where bins of sorted lengths begin, so that each has the wanted number, and whole lengths."""
    _, first = np.unique(ordered, return_index=True)
    cuts = [0]
    while (place := int(np.searchsorted(first, cuts[-1] + wanted))) < len(first):
        if len(ordered) - first[place] < wanted:
            break
        cuts.append(int(first[place]))
    return cuts


def empirical_p_values(score: Scores, length: NDArray[np.int64], decoys: Decoys) -> Scores:
    """Chance that a decoy of about the same length scores at least as high.

    .. math:: p = (1 + #{decoys of the bin that score at least as high}) / (1 + n)

    n being the number of decoys of the bin. Never 0: 1 / (1 + n) is the least that n decoys can
    tell, and under the null (the sequence is drawn as the decoys were) P(p <= a) is at most a.

    Args:
        score: of each sequence, by what scored the decoys, bigger is more known, shape (N,),
            floating.
        length: residues of each, shape (N,), int64.
        decoys: what to compare with.

    Returns:
        In (0, 1], small is unlike a decoy, shape (N,), float64.

    Raises:
        ValueError: if the shapes differ, or a score is NaN.

    References:
        Phipson and Smyth, "Permutation P-values should never be zero", Statistical Applications
        in Genetics and Molecular Biology 2010.

    Example:
        >>> decoys = Decoys.of(np.array([1.0, 2.0, 3.0]), np.array([50, 60, 70]))
        >>> empirical_p_values(np.array([0.0, 2.0, 9.0]), np.array([55, 55, 55]), decoys).tolist()
        [1.0, 0.75, 0.25]
    """
    if score.shape != length.shape:
        raise ValueError(f"Expected lengths of shape {score.shape}, got {length.shape}.")
    check_scores(score)
    bins = np.searchsorted(decoys.border, length, side="right")
    p_values = np.empty(score.shape, np.float64)
    for place in np.unique(bins):
        chosen = bins == place
        found = decoys.score[decoys.begin[place] : decoys.begin[place + 1]]
        num_above = len(found) - np.searchsorted(found, score[chosen], side="left")
        p_values[chosen] = (1 + num_above) / (1 + len(found))
    return p_values


def benjamini_hochberg(p_values: Scores) -> Scores:
    """Turn p values into q values.

    Taking everything of q at most a, the expected share of decoy-like sequences in what is taken
    is at most a, for independent or positively dependent p values.

    Args:
        p_values: one a test, shape (N,), floating in [0, 1].

    Returns:
        q, at least p and at most 1, shape (N,), float64.

    Raises:
        ValueError: if a value is outside [0, 1].

    References:
        Benjamini and Hochberg, "Controlling the False Discovery Rate", Journal of the Royal
        Statistical Society B 1995.

    Example:
        >>> benjamini_hochberg(np.array([0.5, 0.125, 0.25])).tolist()
        [0.5, 0.375, 0.375]
    """
    distinct, place, counts = np.unique(p_values, return_inverse=True, return_counts=True)
    return q_of_distinct(distinct, counts)[place]


def q_of_distinct(p_values: Scores, counts: NDArray[np.int64]) -> Scores:
    """Turn distinct p values and how often each was seen into their q values.

    Empirical p values are few, at most one more than there are decoys, so a stream of any length
    is counted first and then looked up, in memory that does not grow.

    Args:
        p_values: distinct, in any order, shape (n,), floating in [0, 1].
        counts: how many tests gave each, shape (n,), int64, at least 0.

    Returns:
        q of each, as `benjamini_hochberg` gives it to every test of that p, shape (n,), float64;
        one that was never seen gets the q that it would have, were the number of tests the same.

    Raises:
        ValueError: if a value is outside [0, 1], a count is negative, or the shapes differ.

    Example:
        >>> q_of_distinct(np.array([0.125, 0.5]), np.array([2, 2])).tolist()
        [0.25, 0.5]
    """
    if p_values.shape != counts.shape:
        raise ValueError(f"Expected counts of shape {p_values.shape}, got {counts.shape}.")
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("Expected p values in [0, 1], got one that is outside or NaN.")
    if (counts < 0).any():
        raise ValueError(f"Expected counts of at least 0, got {counts.min()}.")
    order = np.argsort(p_values)
    rank = np.cumsum(counts[order])  # of the last test of each p
    adjusted = p_values[order] * rank[-1:] / np.maximum(rank, 1)
    # A p value may not get a larger q than a larger p value does.
    lowered = np.minimum.accumulate(adjusted[::-1])[::-1]
    q_values = np.empty(p_values.shape, np.float64)
    q_values[order] = np.minimum(lowered, 1)
    return q_values


def _check_decoys(score: Scores, length: NDArray[np.int64], max_bins: int, least: int) -> None:
    if score.shape != length.shape:
        raise ValueError(f"Expected lengths of shape {score.shape}, got {length.shape}.")
    if not len(score):
        raise ValueError("Expected at least one decoy, got none.")
    if min(max_bins, least) < 1:
        raise ValueError(f"Expected `max_bins` and `least` of at least 1, got {max_bins}, {least}.")
    check_scores(score)
