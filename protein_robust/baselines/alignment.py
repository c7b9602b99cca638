"""From the training rows of a family to the alignment that its HMM is built from.

Where the rows are of one alignment of the sources they are used as they stand there. Else they are
aligned here, in one pass: to an HMM of the family's most central sequence. Wrong labels put rows of
other families among them; most rows are still the family's, and so is the central one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyhmmer.easel import AA, DigitalMSA, DigitalSequence
    from pyhmmer.plan7 import HMM

MAX_LENGTH = 6_000
"""Residues of a row that is aligned here; HMMER takes 24 bytes for each pair, so 860 MB."""
MAX_CANDIDATES = 8
"""Sequences of a family that may be the central one."""
MAX_TARGETS = 32
"""Sequences of a family that they are compared with."""
MAX_E_VALUE = 0.01
"""Of one that a candidate finds; HMMER's own for what it includes."""
BUILDER_SEED = 42
"""Of the random sequences with which HMMER calibrates the scores of an HMM."""


@dataclass(frozen=True)
class TrainingRows:
    """Sequences with the family that each one is said to be of.

    Attributes:
        sequences: residue letters of `protein_robust.alphabet.RESIDUES`, N of them, none empty.
        label: given classes, shape (N,), int64.
        aligned: the rows of an alignment with their gaps, N of them, None for those of none.
        alignment: a number that the rows of one alignment share, shape (N,), int64; -1 for none.

    Raises:
        ValueError: if the numbers of rows differ.
    """

    sequences: Sequence[str]
    label: NDArray[np.int64]
    aligned: Sequence[str | None]
    alignment: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check that there is one of each for every row."""
        sizes = [len(part) for part in (self.label, self.aligned, self.alignment)]
        if set(sizes) != {len(self.sequences)}:
            raise ValueError(
                f"Expected {len(self.sequences)} labels, aligned rows and alignments, one for each "
                f"sequence, got {sizes}."
            )


@dataclass(frozen=True)
class Aligned:
    """The alignment of a family.

    Attributes:
        rows: of the alignment.
        is_ours: whether it was made here, and not taken from the sources.
        num_left_out: rows too long to be aligned here.
    """

    rows: DigitalMSA[AA]
    is_ours: bool
    num_left_out: int = 0


def family_alignment(
    rows: TrainingRows, places: NDArray[np.int64], name: str, alphabet: AA
) -> Aligned:
    """Take the rows of a family from their alignment, or align them.

    Args:
        rows: all training rows.
        places: those of the family, shape (M,), int64, at least 1.
        name: of the alignment, which the builder wants.
        alphabet: amino acids.

    Returns:
        The alignment. A single row is one without gaps.
    """
    sequences = [rows.sequences[place] for place in places]
    if len(places) == 1:
        return Aligned(_digital(sequences, name, alphabet), is_ours=False)
    seed = _seed_rows(rows, places)
    if seed is not None:
        return Aligned(_digital(seed, name, alphabet), is_ours=False)
    return _align(sequences, name, alphabet)


def central_place(sequences: Sequence[str], alphabet: AA) -> int:
    """Find the sequence that finds most of the others, among some evenly spaced ones.

    Each candidate becomes an HMM as in phmmer (BLOSUM62) and is compared with some of the others,
    evenly spaced too. The one with the largest sum of bit scores over those that it finds (HMMER's
    filters, E <= 0.01) is central. Where labels are wrong, a sequence of the family finds its
    relatives, and one of another family few. (Counts of shared words of 3 residues would be
    quicker, but long sequences share some by chance, and are then taken for central ones.)

    Args:
        sequences: at least one, none longer than `MAX_LENGTH`.
        alphabet: amino acids.

    Returns:
        The place of the first such sequence; of the first longest one where none finds another.
    """
    from pyhmmer.easel import DigitalSequenceBlock
    from pyhmmer.hmmer import hmmsearch

    places = _evenly(len(sequences), MAX_CANDIDATES)
    others = _evenly(len(sequences), MAX_TARGETS)
    chosen = [sequences[place] for place in others]
    targets: Any = DigitalSequenceBlock(alphabet, digital_sequences(chosen, alphabet))
    queries = [
        _single(query, alphabet)
        for query in digital_sequences([sequences[place] for place in places], alphabet)
    ]
    found = hmmsearch(queries, targets, cpus=1, incE=MAX_E_VALUE)
    scores = [
        sum(hit.score for hit in hits.included if others[int(hit.name)] != place)
        for place, hits in zip(places, found, strict=True)
    ]
    if not any(scores):
        return int(np.argmax([len(sequence) for sequence in sequences]))
    return places[int(np.argmax(scores))]


def _evenly(size: int, most: int) -> list[int]:
    """At most so many places of a row, evenly spaced, the first one among them."""
    number = min(size, most)
    return [place * size // number for place in range(number)]


def digital_sequences(sequences: Sequence[str], alphabet: AA) -> list[DigitalSequence[AA]]:
    """Sequences for pyhmmer, each named by its place."""
    from pyhmmer.easel import TextSequence

    return [
        TextSequence(name=str(place), sequence=sequence).digitize(alphabet)
        for place, sequence in enumerate(sequences)
    ]


def _seed_rows(rows: TrainingRows, places: NDArray[np.int64]) -> list[str] | None:
    """The rows as they stand in the one alignment that all are of; None where they are not."""
    numbers = np.unique(rows.alignment[places])
    if len(numbers) > 1 or numbers[0] < 0:
        return None
    # A stop codon at the end has a column in some sources; HMMER knows it as no residue.
    aligned = [(rows.aligned[place] or "").replace("*", "-") for place in places]
    is_rectangle = len({len(row) for row in aligned}) == 1 and len(aligned[0]) > 0
    return aligned if is_rectangle else None


def _align(sequences: list[str], name: str, alphabet: AA) -> Aligned:
    """Align to the HMM of the most central sequence.

    What a row has before and beyond its aligned part is cut off. Kept, the ends of rows of other
    families would become columns of the family's HMM.
    """
    from pyhmmer.easel import DigitalSequenceBlock
    from pyhmmer.hmmer import hmmalign

    kept = [row for row in sequences if len(row) <= MAX_LENGTH]
    num_left_out = len(sequences) - len(kept)
    if len(kept) < 2:
        only = kept or [min(sequences, key=len)]
        return Aligned(_digital(only, name, alphabet), True, len(sequences) - 1)
    # Any: the stubs of pyhmmer know neither blocks of one alphabet nor what `digitize` gives.
    block: Any = DigitalSequenceBlock(alphabet, digital_sequences(kept, alphabet))
    profile = _single(block[central_place(kept, alphabet)], alphabet)
    aligned: Any = hmmalign(profile, block, cpus=1, digitize=True, trim=True)
    aligned.name = name
    return Aligned(aligned, True, num_left_out)


def _single(sequence: DigitalSequence[AA], alphabet: AA) -> HMM[AA]:
    """The HMM of one sequence, as phmmer makes it."""
    from pyhmmer.plan7 import Background, Builder

    profile, _, _ = Builder(alphabet, seed=BUILDER_SEED).build(sequence, Background(alphabet))
    return profile


def _digital(aligned: Sequence[str], name: str, alphabet: AA) -> DigitalMSA[AA]:
    """Rows with gaps as an alignment; rows get names of their own, since names may be repeated."""
    from pyhmmer.easel import TextMSA, TextSequence

    rows = [TextSequence(name=str(place), sequence=row) for place, row in enumerate(aligned)]
    return TextMSA(name=name, sequences=rows).digitize(alphabet)
