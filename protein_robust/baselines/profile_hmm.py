"""One profile HMM for each family, built from its training rows with their given labels.

The protocol is that of Bileschi et al.: rows of the seed alignment, ``hmmbuild --amino`` with its
defaults, here through pyhmmer. Where wrong labels put rows of several alignments into a family, or
where there is no alignment, its rows are aligned first (`protein_robust.baselines.alignment`).

References:
    Eddy, "Accelerated Profile HMM Searches", PLoS Comput. Biol. 7, 2011.
    Larralde & Zeller, "PyHMMER: a Python library binding to HMMER", Bioinformatics 39, 2023.
    Bileschi et al., "Using deep learning to annotate the protein universe", Nat. Biotechnol. 40,
    2022, supplement (the baselines).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein_robust.baselines.alignment import BUILDER_SEED, TrainingRows, family_alignment
from protein_robust.errors import InputError

if TYPE_CHECKING:
    from pyhmmer.easel import AA
    from pyhmmer.plan7 import HMM

OnProgress = Callable[[int, int], None]
"""Called with how many families are done, and of how many."""


@dataclass(frozen=True)
class Profiles:
    """The HMMs of the families that have a training row.

    Attributes:
        hmms: in the order of classes.
        family: the class of each, ascending, shape (number of HMMs,), int64.
        num_aligned_here: families whose rows are not as an alignment of the sources has them.
        num_left_out: training rows that are in no HMM, since they are too long to be aligned.
    """

    hmms: Sequence[HMM[AA]]
    family: NDArray[np.int64]
    num_aligned_here: int
    num_left_out: int


def require_pyhmmer() -> None:
    """Find out whether pyhmmer can be used.

    Raises:
        InputError: if it cannot.
    """
    try:
        import pyhmmer  # noqa: F401
    except ModuleNotFoundError as error:
        expected = "pyhmmer (`pip install 'protein-robust[hmm]'`) for `baselines: [profile_hmm]`"
        raise InputError(expected, "none") from error


def build_profiles(
    rows: TrainingRows, *, threads: int, on_progress: OnProgress | None = None
) -> Profiles:
    """Build one HMM for each family.

    The HMMs do not depend on the number of threads.

    Args:
        rows: whole training sequences with their given labels.
        threads: at least 1.
        on_progress: told how far it is.

    Returns:
        The HMMs; a family without rows has none.

    Raises:
        ValueError: if there is no row, or ``threads`` is below 1.
        InputError: if pyhmmer is not installed.
    """
    require_pyhmmer()
    if threads < 1:
        raise ValueError(f"Expected `threads` of at least 1, got {threads}.")
    if not len(rows.label):
        raise ValueError("Expected at least one training row, got none.")
    order = np.argsort(rows.label, kind="stable")
    families, begin = np.unique(rows.label[order], return_index=True)
    members = np.split(order, begin[1:])
    hmms, num_aligned_here, num_left_out = [], 0, 0
    for hmm, is_ours, left_out in _build_all(rows, families, members, threads):
        hmms.append(hmm)
        num_aligned_here += is_ours
        num_left_out += left_out
        if on_progress is not None:
            on_progress(len(hmms), len(families))
    return Profiles(hmms, families, num_aligned_here, num_left_out)


def _build_all(
    rows: TrainingRows,
    families: NDArray[np.int64],
    members: Sequence[NDArray[np.int64]],
    threads: int,
) -> Iterator[tuple[HMM[AA], bool, int]]:
    """The HMM of each family, whether its rows were aligned here, and how many were left out."""

    def build(number: int) -> tuple[HMM[AA], bool, int]:
        return _build(rows, members[number], name=f"class{families[number]}")

    if threads == 1:  # in this thread, which an interrupt reaches
        yield from map(build, range(len(families)))
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(build, range(len(families)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _build(
    rows: TrainingRows, places: NDArray[np.int64], *, name: str
) -> tuple[HMM[AA], bool, int]:
    from pyhmmer.easel import Alphabet
    from pyhmmer.plan7 import Background, Builder

    alphabet = Alphabet.amino()
    alignment = family_alignment(rows, places, name, alphabet)
    builder = Builder(alphabet, seed=BUILDER_SEED)
    hmm, _, _ = builder.build_msa(alignment.rows, Background(alphabet))
    return hmm, alignment.is_ours, alignment.num_left_out
