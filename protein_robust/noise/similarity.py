"""Which family is most like each one, by the words of residues that their sequences share.

Residues are read in 13 groups, so that the commonest exchanges (I for L, K for R) change no word.
Words see few of the relations inside a clan; profiles of whole alignments would see more. Of the 66
families with a clan-mate among 243 real Pfam families, 8 have one as their nearest family, where
chance gives 0.7. Groups, word length, weights and limits were chosen among some 600 settings on
these very families (the best had 11, most 3 to 9), so 8 may be more than others will show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = ("LVIM", "C", "A", "G", "ST", "P", "FYW", "E", "D", "N", "Q", "KR", "H")
"""Residues that count as one: the 10 groups of Murphy et al. (2000), with E, D, N and Q apart."""
WORD_LENGTH = 4
MAX_SEQUENCES = 10
"""Sequences of a family that are looked at, evenly spaced over its rows."""
MAX_WORDS = 32
"""Words of a family that are compared."""

_NUM_WORDS = len(GROUPS) ** WORD_LENGTH  # 28,561: a word fits into 16 bits
_CHUNK_RESIDUES = 2_000_000
_MAX_FAMILIES = 65_536  # of a chunk, so that their numbers fit into 16 bits
_CHUNK_PAIRS = 4_000_000
_CHUNK_FAMILIES = 256


@dataclass(frozen=True)
class _Profiles:
    """E words of families, by family and then by word.

    Attributes:
        family: shape (E,), int32.
        word: shape (E,), uint16.
        weight: shape (E,), float32; in how much of the family it occurs, or what that is worth.
    """

    family: NDArray[np.int32]
    word: NDArray[np.uint16]
    weight: NDArray[np.float32]

    def kept(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> _Profiles:
        return _Profiles(self.family[places], self.word[places], self.weight[places])


def nearest_families(
    residues: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    *,
    labels: NDArray[np.int64],
    num_classes: int,
) -> NDArray[np.int64]:
    """Find, for each family, the other family whose word profile has the largest cosine with its.

    The profile of a family is, for each word of 4 residue groups, the share of its (at most 10)
    sequences that have the word, times the root of its inverse document frequency,
    ln((1 + K) / (1 + families with the word)) + 1; words of one family alone are left out, and of
    the others the 32 of largest weight are kept. Of equal families the first counts. A family that
    shares no word with another, or has no sequence, gets the next one, c + 1 mod K.

    Args:
        residues: letters of all sequences, one after another, capital, shape (L,), uint8. A word
            with a letter outside the 20 standard ones is passed over.
        offsets: where each sequence begins, and the end of the last, shape (N + 1,), int64.
        labels: family of each sequence, shape (N,), int64 in [0, K).
        num_classes: K, at least 2.

    Returns:
        The nearest family of each, shape (K,), int64.

    Raises:
        ValueError: if K is below 2, a label is outside [0, K), or there is not one for each
            sequence.

    References:
        Murphy et al., "Simplified amino acid alphabets for protein fold recognition", Protein
        Engineering 13, 2000 (the groups).

    Example:
        >>> letters = np.frombuffer(b"MKVWHGCPAAAAAAAMKIWHGC", np.uint8)
        >>> offsets = np.array([0, 8, 15, 22])
        >>> nearest_families(letters, offsets, labels=np.array([0, 1, 2]), num_classes=3).tolist()
        [2, 2, 0]
    """
    if num_classes < 2:
        raise ValueError(f"Expected `num_classes` of at least 2, got {num_classes}.")
    if labels.shape != (len(offsets) - 1,):
        expected = f"shape ({len(offsets) - 1},), one for each sequence"
        raise ValueError(f"Expected `labels` of {expected}, got {labels.shape}.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"Expected `labels` in [0, {num_classes}), got {found}.")
    chunks = list(_word_shares(residues, offsets, labels))
    families_with = np.zeros(_NUM_WORDS, np.int64)
    for chunk in chunks:
        families_with += np.bincount(chunk.word, minlength=_NUM_WORDS)
    telling = [_telling_words(chunk, families_with, num_classes) for chunk in chunks]
    return _most_similar(telling, num_classes)


def _word_shares(
    residues: NDArray[np.uint8], offsets: NDArray[np.int64], labels: NDArray[np.int64]
) -> Iterator[_Profiles]:
    """The share of the looked-at sequences of a family that have a word; whole families at once."""
    rows = _sampled_rows(labels)
    family = labels[rows]
    ends = np.flatnonzero(np.diff(family, append=-1)) + 1  # where a family's rows end
    read = np.cumsum(offsets[rows + 1] - offsets[rows])
    part = read[ends - 1] // _CHUNK_RESIDUES + np.arange(len(ends)) // _MAX_FAMILIES
    stops = ends[np.flatnonzero(np.diff(part, append=-1))]
    for begin, end in zip(np.concatenate([[0], stops])[:-1], stops, strict=True):
        yield _count_words(residues, offsets, rows[begin:end], family[begin:end])


def _sampled_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that are looked at, by family: floor(i n / 10) of the n rows of one, i from 0 to 9."""
    order = np.argsort(labels, kind="stable")
    family = labels[order]
    size = np.bincount(family)[family] if len(family) else family
    rank = np.arange(len(family)) - np.searchsorted(family, family)
    taken = np.minimum(size, MAX_SEQUENCES)
    number = -(-rank * taken // np.maximum(size, 1))  # the first i with i n / 10 >= rank
    is_looked_at = (number < taken) & (number * size // np.maximum(taken, 1) == rank)
    rows: NDArray[np.int64] = order[is_looked_at]
    return rows


def _count_words(
    residues: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    family: NDArray[np.int64],
) -> _Profiles:
    length = offsets[rows + 1] - offsets[rows]
    begin = np.cumsum(length) - length
    place = np.repeat(offsets[rows] - begin, length) + np.arange(length.sum())
    group = _group_of_byte()[residues[place]]
    sequence = np.repeat(np.arange(len(rows)), length)
    word = np.zeros(max(len(group) - WORD_LENGTH + 1, 0), np.int64)
    is_word = sequence[: len(word)] == sequence[WORD_LENGTH - 1 :]
    for shift in range(WORD_LENGTH):
        letter = group[shift : shift + len(word)]
        word = word * len(GROUPS) + letter
        is_word &= letter >= 0
    # A word counts once in a sequence, however often it occurs: repeats would outweigh the rest.
    once, _ = _distinct((sequence[: len(word)] * _NUM_WORDS + word)[is_word])
    pair, count = _distinct(family[once // _NUM_WORDS] * _NUM_WORDS + once % _NUM_WORDS)
    owner = pair // _NUM_WORDS
    share = count / np.bincount(family)[owner]
    return _Profiles(
        owner.astype(np.int32), (pair % _NUM_WORDS).astype(np.uint16), share.astype(np.float32)
    )


def _distinct(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted distinct values and their numbers; `np.unique` of NumPy 2.4 takes far longer."""
    values = np.sort(values)
    begin = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
    return values[begin], np.diff(begin, append=len(values))


def _group_of_byte() -> NDArray[np.int64]:
    table = np.full(256, -1, np.int64)
    for number, letters in enumerate(GROUPS):
        table[np.frombuffer(letters.encode(), np.uint8)] = number
    return table


def _telling_words(
    profiles: _Profiles, families_with: NDArray[np.int64], num_classes: int
) -> _Profiles:
    """The words of largest weight of each family, of those that another family has too."""
    shared = profiles.kept(families_with[profiles.word] > 1)
    rarity = np.log((1 + num_classes) / (1 + families_with)) + 1
    weight = shared.weight * np.sqrt(rarity).astype(np.float32)[shared.word]
    # Sorting one integer is ten times as fast as by three keys. Family, weight (the larger the
    # earlier; the bits of positive floats are in their order) and word take 16, 32 and 16 bits.
    start = np.int64(profiles.family.min(initial=np.iinfo(np.int32).max))
    key = (shared.family - start).astype(np.uint64) << np.uint64(48)
    key |= (~weight.view(np.uint32)).astype(np.uint64) << np.uint64(16)
    key = np.sort(key | shared.word)
    family = (key >> np.uint64(48)).astype(np.int64)
    best = np.arange(len(key)) - np.searchsorted(family, family) < MAX_WORDS
    family, key = family[best], key[best]
    weight = (~(key >> np.uint64(16)).astype(np.uint32)).view(np.float32)
    length = np.sqrt(np.bincount(family, weights=weight.astype(np.float64) ** 2))
    return _Profiles(
        (family + start).astype(np.int32),
        key.astype(np.uint16),  # the last 16 bits
        (weight / length[family]).astype(np.float32),
    )


def _most_similar(chunks: list[_Profiles], num_classes: int) -> NDArray[np.int64]:
    """The family of the largest cosine with each; the next one where none is above 0."""
    nearest = (np.arange(num_classes) + 1) % num_classes
    if not chunks:
        return nearest
    table = _Profiles(
        np.concatenate([chunk.family for chunk in chunks]),
        np.concatenate([chunk.word for chunk in chunks]),
        np.concatenate([chunk.weight for chunk in chunks]),
    )
    by_word = table.kept(np.argsort(table.word, kind="stable"))
    owners = np.bincount(table.word, minlength=_NUM_WORDS)
    begin_of_word = np.cumsum(owners) - owners
    begin = np.searchsorted(table.family, np.arange(num_classes + 1))
    for first, last in _blocks(owners[table.word], begin):
        part = table.kept(np.arange(begin[first], begin[last]))
        # Each entry of the part meets the entries of all families with its word.
        times = owners[part.word]
        ends = np.cumsum(times)
        met = np.arange(times.sum()) + np.repeat(begin_of_word[part.word] - ends + times, times)
        row = np.repeat(part.family.astype(np.int64) - first, times)
        scores = np.bincount(
            row * num_classes + by_word.family[met],
            weights=np.repeat(part.weight, times) * by_word.weight[met],
            minlength=(last - first) * num_classes,
        ).reshape(last - first, num_classes)
        own = np.arange(first, last)
        scores[own - first, own] = 0
        best = scores.argmax(axis=1)
        nearest[own] = np.where(scores[own - first, best] > 0, best, nearest[own])
    return nearest


def _blocks(times: NDArray[np.int64], begin: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of families that are compared at once, so that memory stays bounded.

    ``times`` is how many entries each entry meets, ``begin`` where those of each family begin.
    """
    pairs = np.concatenate([[0], np.cumsum(times)])[begin]
    first = 0
    while first < len(begin) - 1:
        last = int(np.searchsorted(pairs, pairs[first] + _CHUNK_PAIRS, side="right")) - 1
        last = min(max(last, first + 1), first + _CHUNK_FAMILIES)
        yield first, last
        first = last
