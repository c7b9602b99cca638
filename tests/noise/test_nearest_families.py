"""Which family is found to be most like another one."""

from __future__ import annotations

import csv
import gzip
import math
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protein_robust.noise.similarity as similarity
from protein_robust.noise import nearest_families

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


def nearest(sequences: list[str], labels: list[int], num_classes: int) -> list[int]:
    residues = np.frombuffer("".join(sequences).encode(), np.uint8)
    offsets = np.cumsum([0] + [len(sequence) for sequence in sequences])
    found = nearest_families(
        residues, offsets, labels=np.array(labels, np.int64), num_classes=num_classes
    )
    return found.tolist()  # type: ignore[no-any-return]


def oracle(sequences: list[str], labels: list[int], num_classes: int) -> list[dict[int, float]]:
    """The cosine of each family with each other one, in pure Python."""
    group = {letter: g for g, letters in enumerate(similarity.GROUPS) for letter in letters}
    profiles: list[dict[tuple[int, ...], float]] = []
    for family in range(num_classes):
        own = [s for s, label in zip(sequences, labels, strict=True) if label == family]
        if len(own) > similarity.MAX_SEQUENCES:
            num = similarity.MAX_SEQUENCES
            own = [own[i * len(own) // num] for i in range(num)]
        counts: Counter[tuple[int, ...]] = Counter()
        for sequence in own:
            windows = {sequence[i : i + 4] for i in range(len(sequence) - 3)}
            known = [w for w in windows if all(letter in group for letter in w)]
            counts.update({tuple(group[letter] for letter in w) for w in known})
        profiles.append({word: n / len(own) for word, n in counts.items()})
    families_with = Counter(word for profile in profiles for word in profile)
    weights = []
    for profile in profiles:
        weighted = {
            word: share * math.sqrt(math.log((1 + num_classes) / (1 + families_with[word])) + 1)
            for word, share in profile.items()
            if families_with[word] > 1
        }
        best = sorted(weighted, key=lambda word: (-np.float32(weighted[word]), word))[:32]
        length = math.sqrt(sum(weighted[word] ** 2 for word in best))
        weights.append({word: weighted[word] / length for word in best})
    return [
        {
            other: sum(value * weights[other].get(word, 0.0) for word, value in own.items())
            for other in range(num_classes)
            if other != family
        }
        for family, own in enumerate(weights)
    ]


def related(seed: int, num_classes: int, largest: int) -> tuple[list[str], list[int]]:
    """Families that are mutations of one of a few ancestors."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWYX"))
    ancestors = rng.integers(0, 21, (3, 60))
    sequences, labels = [], []
    for family in range(num_classes):
        parent = ancestors[rng.integers(3)]
        parent = np.where(rng.random(60) < 0.6, parent, rng.integers(0, 21, 60))
        for _ in range(rng.integers(0, largest)):
            child = np.where(rng.random(60) < 0.8, parent, rng.integers(0, 21, 60))
            sequences.append("".join(letters[child[: rng.integers(2, 61)]]))
            labels.append(family)
    order = rng.permutation(len(labels))
    return [sequences[i] for i in order], [labels[i] for i in order]


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), num_classes=st.integers(2, 12), largest=st.sampled_from([3, 30]))
def test_the_nearest_family_is_one_of_the_largest_cosine(
    seed: int, num_classes: int, largest: int
) -> None:
    sequences, labels = related(seed, num_classes, largest)
    found = nearest(sequences, labels, num_classes)
    for family, cosines in enumerate(oracle(sequences, labels, num_classes)):
        most = max(cosines.values())
        if most == 0:
            assert found[family] == (family + 1) % num_classes
        # Several families may be equal but for rounding: 32-bit weights, of at most 32 words.
        assert cosines[found[family]] >= most - 1e-5


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences, labels = related(7, 40, 25)
    whole = nearest(sequences, labels, 40)
    monkeypatch.setattr(similarity, "_CHUNK_RESIDUES", 500)
    monkeypatch.setattr(similarity, "_CHUNK_PAIRS", 50)
    monkeypatch.setattr(similarity, "_CHUNK_FAMILIES", 3)
    monkeypatch.setattr(similarity, "_MAX_FAMILIES", 2)
    assert nearest(sequences, labels, 40) == whole
    assert len(set(whole)) > 10


def test_a_common_exchange_changes_no_word() -> None:
    # L for I, R for K, S for T and W for F, as the groups have it; the third shares nothing.
    assert nearest(["MIKTFHGC", "MLRSWHGC", "PQPQPQPQ"], [0, 1, 2], 3) == [1, 0, 0]


def test_a_family_without_a_shared_word_or_a_sequence_gets_the_next_one() -> None:
    assert nearest(["AAAAA", "CCCCC"], [0, 2], 4) == [1, 2, 3, 0]


def test_without_sequences_each_family_gets_the_next_one() -> None:
    assert nearest([], [], 3) == [1, 2, 0]


def test_a_letter_outside_the_twenty_ends_a_word() -> None:
    # Read through X, 0 and 1 would be equal; 0 and 2 share HGCE.
    assert nearest(["AAXAAHGCE", "AAXAA", "PPHGCE"], [0, 1, 2], 3) == [2, 2, 0]


def test_a_word_does_not_reach_into_the_next_sequence() -> None:
    assert nearest(["HG", "CEPP", "HGCE"], [0, 0, 1], 2) == [1, 0]
    assert nearest(["HG", "CE", "HGCE", "AAAA", "AAAA"], [0, 0, 1, 2, 3], 4) == [1, 2, 3, 2]


def test_one_class_has_no_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"`num_classes` of at least 2, got 1\."):
        nearest(["AAAA"], [0], 1)


def test_a_label_for_each_sequence_is_needed() -> None:
    with pytest.raises(
        ValueError, match=r"`labels` of shape \(1,\), one for each .*, got \(2,\)\."
    ):
        nearest(["AAAA"], [0, 1], 2)


@pytest.mark.parametrize(("labels", "found"), [([0, 2], "0 to 2"), ([-1, 0], "-1 to 0")])
def test_labels_are_classes(labels: list[int], found: str) -> None:
    with pytest.raises(ValueError, match=rf"`labels` in \[0, 2\), got {found}\."):
        nearest(["AAAA", "AAAA"], labels, 2)


def real_families() -> dict[str, list[str]]:
    """Sequences of the 145 families of two real excerpts, by accession without version."""
    families: dict[str, list[str]] = defaultdict(list)
    with (DATA / "pfam" / "train_100.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            families[row["family_accession"].split(".")[0]].append(row["sequence"])
    accession = ""
    union = DATA / "stockholm" / "Pfam-A.seed.union"
    for line in union.read_text(encoding="latin-1").splitlines():
        if line.startswith("#=GF AC"):
            accession = line.split()[2].split(".")[0]
        elif line and line[0] not in "#/":
            row_text = line.split()[1].upper()
            families[accession].append(row_text.replace(".", "").replace("-", ""))
    return dict(sorted(families.items()))


def real_clans() -> dict[str, str]:
    clans, accession = {}, ""
    path = DATA / "stockholm" / "Pfam-A.hmm.dat.gz"
    with gzip.open(path, "rt", encoding="latin-1") as stream:
        for line in stream:
            if line.startswith("#=GF AC"):
                accession = line.split()[2].split(".")[0]
            elif line.startswith("#=GF CL"):
                clans[accession] = line.split()[2]
    return clans


@pytest.mark.slow
def test_real_families_are_nearest_to_a_clan_mate_far_more_often_than_by_chance() -> None:
    if not (DATA / "stockholm" / "Pfam-A.hmm.dat.gz").is_file():
        pytest.skip(f"real data not there: {DATA}")
    families, clans = real_families(), real_clans()
    sequences = [sequence for members in families.values() for sequence in members]
    labels = [number for number, members in enumerate(families.values()) for _ in members]
    found = nearest(sequences, labels, len(families))
    own = [clans.get(accession) for accession in families]
    size = Counter(own)
    with_mates = [i for i, clan in enumerate(own) if clan is not None and size[clan] > 1]
    hits = sum(own[i] == own[found[i]] for i in with_mates)
    chance = sum(size[own[i]] - 1 for i in with_mates) / (len(families) - 1)
    assert len(with_mates) == 30
    assert chance < 0.4
    assert hits >= 5
