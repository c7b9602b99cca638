"""HMMs of families, built and searched; plain pyhmmer calls are the oracle."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from pyhmmer import easel, plan7
from pyhmmer.hmmer import hmmsearch

from protein_robust.baselines import (
    Hits,
    Profiles,
    TrainingRows,
    build_profiles,
    require_pyhmmer,
    search_profiles,
)
from protein_robust.baselines.profile_search import MAX_LENGTH
from protein_robust.errors import InputError

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
AMINO = easel.Alphabet.amino()


def relatives(seed: int, size: int, *, length: int = 60) -> list[str]:
    """Sequences that share about 4 of 5 residues with one ancestor."""
    rng = np.random.default_rng(seed)
    ancestor = rng.choice(LETTERS, length)
    return [
        "".join(np.where(rng.random(length) < 0.8, ancestor, rng.choice(LETTERS, length)))
        for _ in range(size)
    ]


def unaligned(sequences: list[str], label: list[int]) -> TrainingRows:
    size = len(sequences)
    return TrainingRows(sequences, np.array(label), [None] * size, np.full(size, -1))


def in_alignment(sequences: list[str], label: list[int]) -> TrainingRows:
    """Rows without gaps, each family in an alignment of its own."""
    return TrainingRows(sequences, np.array(label), list(sequences), np.array(label))


def plain_hmm(rows: list[str]) -> plan7.HMM:
    texts = [easel.TextSequence(name=f"r{i}", sequence=row) for i, row in enumerate(rows)]
    msa = easel.TextMSA(name="x", sequences=texts).digitize(AMINO)
    return plan7.Builder(AMINO).build_msa(msa, plan7.Background(AMINO))[0]


def plain_scores(hmms: list[plan7.HMM], sequences: list[str]) -> NDArray[np.float64]:
    """Bit scores of a plain `hmmsearch` at E <= 10, shape (N, number of HMMs); -inf for no hit."""
    block = easel.DigitalSequenceBlock(
        AMINO,
        [
            easel.TextSequence(name=f"s{i}", sequence=s).digitize(AMINO)
            for i, s in enumerate(sequences)
        ],
    )
    scores = np.full((len(sequences), len(hmms)), -np.inf)
    for number, hits in enumerate(hmmsearch(hmms, block, cpus=1, E=10.0)):
        for hit in hits:
            if hit.reported:
                scores[int(hit.name[1:]), number] = hit.score
    return scores


FAMILIES = [relatives(seed, 10) for seed in range(3)]
ROWS = [row for family in FAMILIES for row in family[:7]]
LABEL = [number for number in range(3) for _ in range(7)]
TARGETS = [row for family in FAMILIES for row in family[7:]]


@pytest.fixture(scope="module")
def profiles() -> Profiles:
    return build_profiles(in_alignment(ROWS, LABEL), threads=1)


@pytest.fixture(scope="module")
def hits(profiles: Profiles) -> Hits:
    return search_profiles(profiles, TARGETS, threads=1)


def test_the_best_bit_scores_are_those_of_plain_calls(hits: Hits) -> None:
    scores = plain_scores([plain_hmm(family[:7]) for family in FAMILIES], TARGETS)
    assert hits.is_first_pass.all()
    np.testing.assert_array_equal(hits.prediction, scores.argmax(axis=1))
    np.testing.assert_array_equal(hits.bit_score, scores.max(axis=1))


def test_relatives_are_found_in_their_family(hits: Hits) -> None:
    assert hits.prediction.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_second_family_scores_no_higher(profiles: Profiles) -> None:
    # A chimera of the ancestors of two families is found by both.
    chimera = FAMILIES[0][8][:40] + FAMILIES[1][8][-30:]
    found = search_profiles(profiles, [chimera], threads=1)
    assert {int(found.prediction[0]), int(found.second_prediction[0])} == {0, 1}
    assert found.second_bit_score[0] <= found.bit_score[0]


def test_rows_of_an_alignment_are_used_with_their_gaps() -> None:
    aligned = [row[:20] + "--" + row[20:] for row in FAMILIES[0][:5]]
    aligned[0] = FAMILIES[0][0][:20] + "WW" + FAMILIES[0][0][20:]
    rows = TrainingRows(
        [row.replace("-", "") for row in aligned], np.zeros(5, np.int64), aligned, np.zeros(5)
    )
    built = build_profiles(rows, threads=1)
    assert built.num_aligned_here == 0
    assert built.hmms[0].match_emissions == plain_hmm(aligned).match_emissions


def test_a_row_of_another_alignment_has_the_family_aligned_anew() -> None:
    rows = in_alignment(ROWS, LABEL)
    label = rows.label.copy()
    label[0] = 1  # a row of family 0 is said to be of family 1
    noisy = TrainingRows(rows.sequences, label, rows.aligned, rows.alignment)
    built = build_profiles(noisy, threads=1)
    assert built.num_aligned_here == 1
    assert (
        search_profiles(built, TARGETS, threads=1).prediction.tolist()
        == [0] * 3 + [1] * 3 + [2] * 3
    )


def test_families_are_recovered_where_two_of_five_labels_are_wrong() -> None:
    rng = np.random.default_rng(0)
    label = np.array(LABEL)
    # 8 of 21 rows get another family, at most 3 of one family.
    changed = np.concatenate([[0, 1, 2], [7, 8, 9], [14, 15]])
    label[changed] = (label[changed] + rng.integers(1, 3, size=8)) % 3
    built = build_profiles(unaligned(ROWS, label.tolist()), threads=1)
    found = search_profiles(built, TARGETS, threads=1)
    assert built.num_aligned_here == 3
    assert found.prediction.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    "rows",
    [
        ["A"],
        ["X"],
        ["A" * 50],
        ["BJOUXZ" * 3],
        ["A", "C"],
        ["MKV", "W" * 40, "X" * 30, "ACDEFGHIKLMNPQRSTVWY"],
        ["ACDEFGHIKL"] * 3,
    ],
    ids=["one residue", "one unknown", "one letter", "rare", "two short", "mixed", "equal"],
)
def test_odd_families_have_an_hmm(rows: list[str]) -> None:
    built = build_profiles(unaligned(rows, [4] * len(rows)), threads=1)
    found = search_profiles(built, [*rows, "MKVLACDW"], threads=1)
    assert built.family.tolist() == [4]
    assert set(found.prediction.tolist()) <= {-1, 4}


def test_what_no_hmm_finds_has_no_family(profiles: Profiles) -> None:
    # One residue leaves HMMER's domain search nothing to define a domain by.
    found = search_profiles(profiles, ["W", FAMILIES[0][8]], threads=1)
    assert found.prediction.tolist() == [-1, 0]
    assert np.isnan(found.bit_score).tolist() == [True, False]
    assert not found.is_first_pass[0]


def test_a_short_part_is_found_in_the_second_pass_only(profiles: Profiles) -> None:
    part = FAMILIES[1][8][20:32]  # 12 of 60 residues
    others = ["".join(np.random.default_rng(9).choice(LETTERS, 300))] * 200
    found = search_profiles(profiles, [part, *others], threads=1)
    assert found.prediction[0] == 1
    assert not found.is_first_pass[0]


def test_a_sequence_beyond_the_limit_of_hmmer_is_searched_in_windows(profiles: Profiles) -> None:
    tail = "".join(np.random.default_rng(11).choice(LETTERS, MAX_LENGTH + 10))
    found = search_profiles(profiles, [tail + FAMILIES[2][8]], threads=1)
    assert found.prediction.tolist() == [2]


def test_rows_too_long_to_be_aligned_are_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protein_robust.baselines.alignment.MAX_LENGTH", 60)
    built = build_profiles(unaligned([*FAMILIES[0], "M" * 61], [0] * 11), threads=1)
    assert built.num_left_out == 1
    monkeypatch.setattr("protein_robust.baselines.alignment.MAX_LENGTH", 59)
    built = build_profiles(unaligned(FAMILIES[0], [0] * 10), threads=1)
    assert built.num_left_out == 9  # one stands for the family
    assert built.hmms[0].M == 60


def test_two_threads_give_the_numbers_of_one(hits: Hits) -> None:
    built = build_profiles(in_alignment(ROWS, LABEL), threads=2)
    again = search_profiles(built, TARGETS, threads=2)
    for name in ("prediction", "bit_score", "second_prediction", "second_bit_score"):
        np.testing.assert_array_equal(getattr(again, name), getattr(hits, name))


def test_progress_counts_families() -> None:
    told: list[tuple[int, int]] = []
    build_profiles(in_alignment(ROWS, LABEL), threads=1, on_progress=lambda *x: told.append(x))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_no_sequences_give_no_hits(profiles: Profiles) -> None:
    assert len(search_profiles(profiles, [], threads=1).prediction) == 0


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_is_refused(profiles: Profiles, threads: int) -> None:
    with pytest.raises(ValueError, match="Expected `threads` of at least 1, got"):
        build_profiles(in_alignment(ROWS, LABEL), threads=threads)
    with pytest.raises(ValueError, match="Expected `threads` of at least 1, got"):
        search_profiles(profiles, TARGETS, threads=threads)


def test_no_training_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected at least one training row, got none"):
        build_profiles(unaligned([], []), threads=1)


def test_rows_of_different_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one for each sequence, got \[1, 2, 2\]"):
        TrainingRows(["A", "C"], np.zeros(1, np.int64), [None] * 2, np.zeros(2, np.int64))


def test_without_pyhmmer_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyhmmer", None)
    with pytest.raises(InputError, match=r"pip install 'protein-robust\[hmm\]'"):
        require_pyhmmer()
