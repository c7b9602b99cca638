from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.ingest.readers.lg import lg_frequencies
from protein_robust.ingest.readers.synthetic import SyntheticOptions, synthetic_blocks
from protein_robust.ingest.records import FamilyFacts

SMALL = SyntheticOptions(num_families=6, mean_members=30)


def identity(first: str, second: str) -> float:
    pairs = list(zip(first, second, strict=False))
    return sum(a == b for a, b in pairs) / len(pairs)


def families(options: SyntheticOptions) -> dict[str, list[str]]:
    return {
        block.families[0]: [letters.decode() for letters in block.letters]
        for block in synthetic_blocks(options)
    }


def sequences(options: SyntheticOptions) -> list[str]:
    return [sequence for members in families(options).values() for sequence in members]


def test_the_first_block_says_that_it_is_synthetic() -> None:
    first, second = islice(synthetic_blocks(SMALL), 2)
    assert first.names[0] == f"syn1_0001/1-{len(first.letters[0])}"
    assert set(first.families) == {"SF00001.1"}
    assert first.facts == {"SF00001.1": FamilyFacts(family_id="synthetic_1", clan="SC0001")}
    assert (first.splits, first.path, first.lines[0]) == (None, "example", 1)
    assert len(first.lines) == len(first.names) == len(first.letters) == len(first.families)
    assert second.lines[0] == first.lines[-1] + 1


def test_the_same_seed_gives_the_same_sequences() -> None:
    assert list(synthetic_blocks(SMALL)) == list(synthetic_blocks(SMALL))


def test_another_seed_gives_other_sequences() -> None:
    assert not set(sequences(SMALL)) & set(sequences(replace(SMALL, seed=1)))


def test_families_stand_in_clans_of_three_two_and_one() -> None:
    blocks = synthetic_blocks(replace(SMALL, num_families=8))
    clans = [block.facts[block.families[0]].clan for block in blocks]
    assert clans == ["SC0001"] * 3 + ["SC0002"] * 2 + [None] + ["SC0004"] * 2


def test_the_default_has_the_stated_size() -> None:
    found = families(SyntheticOptions())
    members = [sequence for family in found.values() for sequence in family]
    assert len(found) == 20
    assert np.mean([len(family) for family in found.values()]) == pytest.approx(120, rel=0.1)
    assert np.mean([len(sequence) for sequence in members]) == pytest.approx(137, rel=0.1)
    assert all(set(sequence) <= set(STANDARD_RESIDUES) for sequence in members)


def test_residues_stay_at_equilibrium() -> None:
    # 60 independent families of 2: about 6,000 independent sites, so a frequency of 0.1 has a
    # standard error of 0.004; the bound is more than four of them.
    options = SyntheticOptions(num_families=60, mean_members=2, family_divergence=5.0)
    counts = Counter("".join(sequences(options)))
    frequencies = np.array([counts[letter] for letter in STANDARD_RESIDUES]) / counts.total()
    np.testing.assert_allclose(frequencies, lg_frequencies(), atol=0.018)


def test_members_are_closer_than_clan_mates_and_these_than_strangers() -> None:
    found = list(families(replace(SMALL, indel_rate=0.0)).values())
    within = identity(found[0][0], found[0][-1])
    in_clan = identity(found[0][0], found[1][0])
    strangers = identity(found[0][0], found[3][0])
    assert within > in_clan > strangers


def test_without_divergence_all_of_a_clan_are_equal() -> None:
    options = replace(SMALL, num_families=3, member_divergence=0.0, family_divergence=0.0)
    assert len(set(sequences(options))) == 1


def test_divergence_is_in_replacements_per_site() -> None:
    # With nearly equal rates and time t short, a fraction t of the sites differs from the root;
    # two members whose lines part at the root differ at up to 2 t.
    options = SyntheticOptions(
        num_families=2, mean_members=2, mean_length=20_000, rate_shape=1e4, indel_rate=0.0,
        member_divergence=0.01, family_divergence=0.0,
    )  # fmt: skip
    first = families(options)["SF00001.1"]
    # Two members always part at the root: expected difference 0.02, less what changes twice.
    assert identity(first[0], first[1]) == pytest.approx(0.98, abs=0.004)


def test_some_sites_are_conserved_and_some_are_not() -> None:
    members = families(replace(SMALL, indel_rate=0.0))["SF00001.1"]
    columns = list(zip(*(member for member in members), strict=True))
    most_common = [Counter(column).most_common(1)[0][1] / len(members) for column in columns]
    assert np.mean(np.array(most_common) == 1.0) > 0.15
    assert np.mean(np.array(most_common) < 0.7) > 0.15


def test_no_sequence_is_shorter_than_asked() -> None:
    options = replace(SMALL, mean_length=20, min_length=18, indel_rate=1.0, mean_indel_length=8.0)
    lengths = [len(sequence) for sequence in sequences(options)]
    assert min(lengths) >= 18
    assert len(set(lengths)) > 1
