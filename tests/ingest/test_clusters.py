"""Clusters of aligned rows, against loops that compare all pairs."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from protein_robust.ingest import clusters as module
from protein_robust.ingest.clusters import cluster_aligned, divide_clusters

TRAIN, VALID, TEST = 0, 1, 2
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


def identity(one: bytes, other: bytes) -> float:
    """The definition, letter by letter."""
    pairs = list(zip(one.decode().upper(), other.decode().upper(), strict=True))
    same = sum(a == b and a.isalpha() for a, b in pairs)
    shorter = min(sum(pair[side].isalpha() for pair in pairs) for side in (0, 1))
    return same / shorter if shorter else 0.0


def partition(clusters: NDArray[np.int64]) -> set[frozenset[int]]:
    members = defaultdict(set)
    for row, cluster in enumerate(clusters.tolist()):
        members[cluster].add(row)
    return {frozenset(rows) for rows in members.values()}


def by_all_pairs(rows: list[bytes], bound: float) -> set[frozenset[int]]:
    linked = np.array([[identity(a, b) > bound for a in rows] for b in rows])
    return partition(connected_components(linked, directed=False)[1])


def alignments(width: int = 12, max_rows: int = 14) -> st.SearchStrategy[list[bytes]]:
    rows = st.text("ACDac.-*X", min_size=width, max_size=width).map(str.encode)
    return st.lists(rows, min_size=1, max_size=max_rows)


BOUNDS = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0])


@given(alignments(), BOUNDS)
def test_clusters_are_the_components_of_all_pairs(rows: list[bytes], bound: float) -> None:
    assert partition(cluster_aligned(rows, bound)) == by_all_pairs(rows, bound)


@given(alignments(width=67, max_rows=4), BOUNDS)
def test_columns_beyond_one_word_count(rows: list[bytes], bound: float) -> None:
    assert partition(cluster_aligned(rows, bound)) == by_all_pairs(rows, bound)


@given(alignments(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[bytes], random: np.random.Generator) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = partition(cluster_aligned([rows[row] for row in order], 0.5))
    expected = partition(cluster_aligned(rows, 0.5))
    assert {frozenset(order[row] for row in cluster) for cluster in shuffled} == expected


@given(alignments())
def test_numbers_come_in_order_of_first_appearance(rows: list[bytes]) -> None:
    _, firsts = np.unique(cluster_aligned(rows, 0.5), return_index=True)
    assert (np.diff(firsts) > 0).all()
    assert firsts[0] == 0


@given(alignments())
def test_the_size_of_blocks_does_not_matter(rows: list[bytes]) -> None:
    whole = cluster_aligned(rows, 0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORDS_AT_ONCE", 1)
        patch.setattr(module, "_CELLS_AT_ONCE", 1)
        assert cluster_aligned(rows, 0.25).tolist() == whole.tolist()


def test_a_chain_of_pairs_is_one_cluster() -> None:
    # 3 of 6 columns are the same in neighbours, none in the two ends.
    rows = [b"AAAAAA", b"AAACCC", b"CCCCCC"]
    assert identity(rows[0], rows[2]) == 0
    assert cluster_aligned(rows, 0.4).tolist() == [0, 0, 0]


def test_a_pair_at_the_bound_is_not_linked() -> None:
    rows = [b"AAAA", b"ACCC"]  # 1 of 4
    assert cluster_aligned(rows, 0.25).tolist() == [0, 1]
    assert cluster_aligned(rows, 0.249).tolist() == [0, 0]


@pytest.mark.parametrize(("same", "length", "bound"), [(3, 10, 0.3), (7, 10, 0.7), (7, 100, 0.07)])
def test_a_bound_that_binary_fractions_miss_is_kept(same: int, length: int, bound: float) -> None:
    rows = [b"A" * length, b"A" * same + b"C" * (length - same)]
    assert cluster_aligned(rows, bound).tolist() == [0, 1]


def test_identity_is_of_the_shorter_row() -> None:
    # 2 of the 2 residues of the second: 1, though it is 2 of 8 columns.
    assert cluster_aligned([b"ACDEFGHI", b"AC......"], 0.9).tolist() == [0, 0]


def test_gaps_are_never_the_same() -> None:
    # Of 2 residues each none is in a common column; both have a gap in 4.
    assert cluster_aligned([b"AC......", b"..AC----"], 0.0).tolist() == [0, 1]


def test_a_row_without_residues_is_alone() -> None:
    assert cluster_aligned([b"....", b"AAAA", b"----"], 0.0).tolist() == [0, 1, 2]


def test_no_rows_have_no_clusters() -> None:
    assert cluster_aligned([], 0.25).tolist() == []


@pytest.mark.parametrize("bound", [-0.1, 1.1, float("nan")])
def test_a_bound_outside_its_range_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `max_identity` in \[0, 1\], got"):
        cluster_aligned([b"A"], bound)


def test_rows_of_two_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `rows` of one width, got 2 and 3"):
        cluster_aligned([b"AA", b"AAA"], 0.25)


def test_an_unknown_letter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `rows` of residue letters and gaps, got '1'"):
        cluster_aligned([b"AA", b"A1"], 0.25)


def real_families() -> list[list[bytes]]:
    path = DATA / "stockholm" / "Pfam-A.seed.union"
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    records = path.read_bytes().split(b"\n//")
    rows = [[line for line in record.split(b"\n") if line[:1] not in b"#"] for record in records]
    return [[line.split()[1] for line in lines] for lines in rows if lines]


def test_clusters_of_real_families_are_the_components_of_all_pairs() -> None:
    families = real_families()
    assert len(families) == 46
    for rows in families:
        letters = np.frombuffer(b"".join(rows).upper(), np.uint8).reshape(len(rows), -1)
        residue = (letters >= ord("A")) & (letters <= ord("Z"))
        same = np.array([((row == letters) & (row >= ord("A"))).sum(axis=1) for row in letters])
        shorter = np.minimum.outer(residue.sum(axis=1), residue.sum(axis=1))
        linked = same / shorter > 0.25
        expected = partition(connected_components(linked, directed=False)[1])
        assert partition(cluster_aligned(rows, 0.25)) == expected


# Dividing.


def divide(
    clusters: list[int],
    order: list[int] | None = None,
    fraction: float = 0.25,
    pinned: list[int] | None = None,
) -> list[int]:
    keys = np.array(order if order is not None else range(len(clusters)), dtype=np.int64)
    held = None if pinned is None else np.isin(np.arange(len(clusters)), pinned)
    splits = divide_clusters(
        np.array(clusters, dtype=np.int64),
        keys,
        valid_fraction=fraction,
        test_fraction=fraction,
        pinned=held,
    )
    return [int(split) for split in splits]


FAMILIES = st.lists(st.integers(0, 6), min_size=1, max_size=40)


def test_one_cluster_is_all_train() -> None:
    assert divide([0] * 8) == [TRAIN] * 8


def test_clusters_fill_test_then_valid_then_train() -> None:
    # 8 rows, so 2 to test and 2 to valid. Cluster 1 (first key) fills test, 2 fills valid.
    assert divide([1, 1, 2, 2, 3, 0, 0, 0]) == [TEST, TEST, VALID, VALID, *[TRAIN] * 4]


def test_a_cluster_that_does_not_fit_goes_to_train_and_the_next_is_tried() -> None:
    # 12 rows, 3 each. Cluster 1 takes 2 of test; 2 (2 rows) goes to valid; 3 to the rest of test.
    clusters = [1, 1, 2, 2, 3, *[0] * 7]
    assert divide(clusters) == [TEST, TEST, VALID, VALID, TEST, *[TRAIN] * 7]


def test_the_smallest_key_of_a_cluster_decides_its_turn() -> None:
    # 4 rows, 1 each: cluster 2 has the smallest key and goes to test, 1 to valid.
    assert divide([0, 0, 1, 2], order=[5, 6, 2, 1]) == [TRAIN, TRAIN, VALID, TEST]


def test_of_equally_large_clusters_the_smallest_key_stays() -> None:
    assert divide([0, 1], order=[2, 1], fraction=0.5) == [TEST, TRAIN]


def test_a_cluster_with_a_pinned_row_stays_in_train() -> None:
    # Without the pinned row 8 rows count, 2 each: cluster 2 takes the place of cluster 1.
    clusters = [1, 1, 2, 2, *[0] * 5]
    assert divide(clusters, pinned=[1]) == [TRAIN, TRAIN, TEST, TEST, *[TRAIN] * 5]


def test_pinned_rows_do_not_count() -> None:
    # Of 4 rows one is pinned: floor(3 * 0.25) is 0.
    assert divide([0, 0, 0, 1], pinned=[0]) == [TRAIN] * 4


def test_a_fraction_is_taken_as_written() -> None:
    # 0.29 * 100 is 28.999... in binary.
    assert divide([0] * 71 + list(range(1, 30)), fraction=0.29).count(TEST) == 29


def test_an_empty_family_has_no_splits() -> None:
    assert divide([]) == []


@given(FAMILIES, st.sampled_from([0.0, 0.1, 0.25, 0.4]))
def test_clusters_stay_whole_and_test_and_valid_within_their_sizes(
    clusters: list[int], fraction: float
) -> None:
    splits = divide(clusters, fraction=fraction)
    assert len(set(zip(clusters, splits, strict=True))) == len(set(clusters))
    assert max(splits.count(TEST), splits.count(VALID)) <= len(clusters) * fraction
    largest = max(clusters.count(cluster) for cluster in clusters)
    assert splits.count(TRAIN) >= largest


@given(FAMILIES, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_numbers_of_clusters_matter(
    clusters: list[int], random: np.random.Generator
) -> None:
    places = list(range(len(clusters)))
    random.shuffle(places)
    expected = divide(clusters)
    shuffled = divide([9 - clusters[place] for place in places], order=places)
    assert shuffled == [expected[place] for place in places]


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of one shape, got \(2,\), \(3,\) and \(2,\)"):
        divide([0, 0], order=[0, 1, 2])


def test_a_repeated_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `order` without repeated keys, got some"):
        divide([0, 1], order=[7, 7])
