"""The embedded example: synthetic protein-like families, evolved under a published model.

A clan's ancestor is drawn from LG's equilibrium; families diverge from it, and their members along
a random tree. Each site keeps a gamma-distributed rate that its descendants inherit, so families
have conserved sites and share some of them with their clan-mates, as real ones do. No real protein
is in it.

References:
    Le & Gascuel 2008 (replacement, see `lg`). Yang, "Maximum likelihood phylogenetic estimation
    from DNA sequences with variable rates over sites", J. Mol. Evol. 39, 1994, 306-314 (gamma
    rates; here continuous, not in categories). Yule, Phil. Trans. R. Soc. B 213, 1925 (tree).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.ingest.options import EXAMPLE
from protein_robust.ingest.readers.lg import ReplacementModel, lg_model
from protein_robust.ingest.records import Block, FamilyFacts

_CLAN_SIZES = (3, 2, 1)
_LETTERS = np.frombuffer(STANDARD_RESIDUES.encode(), dtype=np.uint8)


@dataclass(frozen=True)
class SyntheticOptions:
    """What to generate.

    Attributes:
        num_families: number of families, in clans of 3, 2, 1 (no clan), 3, 2, 1, ...
        mean_members: mean number of members of a family; the numbers vary by about 30 %.
        mean_length: mean length of an ancestor in residues; lengths vary by about 40 %.
        min_length: no sequence is shorter than this, in residues.
        member_divergence: from a family's ancestor to each member, replacements per site.
        family_divergence: from a clan's ancestor to a family's, replacements per site; smaller
            makes clan-mates easier to confuse.
        rate_shape: shape of the gamma distribution of site rates (mean 1); smaller gives more
            conserved sites.
        indel_rate: insertions plus deletions per replacement.
        mean_indel_length: mean of their geometric lengths, in residues.
        seed: same seed, same sequences; with the default lengths come out near their mean.
    """

    num_families: int = 20
    mean_members: int = 120
    mean_length: int = 137
    min_length: int = 30
    member_divergence: float = 0.5
    family_divergence: float = 0.85
    rate_shape: float = 0.8
    indel_rate: float = 0.02
    mean_indel_length: float = 2.5
    seed: int = 7


_DEFAULT_OPTIONS = SyntheticOptions()


@dataclass(frozen=True)
class _Lineage:
    """A sequence in evolution: residues as places in the 20 letters, and each site's rate."""

    residues: NDArray[np.int64]  # (L,)
    rates: NDArray[np.float64]  # (L,)


@dataclass(frozen=True)
class _Process:
    """What drives evolution: the model, how far and how often, and the dice."""

    model: ReplacementModel
    options: SyntheticOptions
    rng: np.random.Generator

    def spread(self, sigma: float) -> float:
        """A log-normal factor of mean 1."""
        return float(self.rng.lognormal(-(sigma**2) / 2, sigma))


def synthetic_blocks(options: SyntheticOptions = _DEFAULT_OPTIONS) -> Iterator[Block]:
    """Generate families, clan by clan, as blocks of a source called ``example``.

    Args:
        options: how many, how long, how far apart.

    Yields:
        One block for each family, such as ``SF00001.1`` with ``syn1_0007/1-133`` among its rows.
    """
    process = _Process(lg_model(), options, np.random.default_rng(options.seed))
    num_before = 0
    for clan, families in _clans(options.num_families):
        length = round(options.mean_length * process.spread(0.4))
        ancestor = _fresh_sites(max(options.min_length, length), process)
        for family in families:
            root = _evolve(ancestor, options.family_divergence, process=process)
            size = max(2, round(options.mean_members * process.spread(0.3)))
            letters = [
                _LETTERS[lineage.residues].tobytes()
                for lineage in _members(root, size, process=process)
            ]
            accession = f"SF{family:05d}.1"
            yield Block(
                path=EXAMPLE,
                lines=range(num_before + 1, num_before + size + 1),
                names=[
                    f"syn{family}_{member:04d}/1-{len(sequence)}"
                    for member, sequence in enumerate(letters, start=1)
                ],
                letters=letters,
                families=[accession] * size,
                facts={accession: FamilyFacts(family_id=f"synthetic_{family}", clan=clan)},
            )
            num_before += size


def _clans(num_families: int) -> Iterator[tuple[str | None, range]]:
    """Families, numbered from 1, cut into clans; a family on its own has no clan."""
    first, number = 1, 0
    while first <= num_families:
        size = min(_CLAN_SIZES[number % len(_CLAN_SIZES)], num_families - first + 1)
        number += 1
        yield (f"SC{number:04d}" if size > 1 else None), range(first, first + size)
        first += size


def _fresh_sites(num_sites: int, process: _Process) -> _Lineage:
    """Sites at equilibrium, each with a gamma rate of mean 1."""
    shape = process.options.rate_shape
    residues = process.rng.choice(len(_LETTERS), size=num_sites, p=process.model.frequencies)
    return _Lineage(residues, process.rng.gamma(shape, 1 / shape, size=num_sites))


def _members(root: _Lineage, size: int, *, process: _Process) -> list[_Lineage]:
    """The leaves of a Yule tree scaled to the wanted height."""
    # With k lineages the next split comes after an exponential time of mean 1/k.
    waits = process.rng.exponential(1 / np.arange(2, size + 1))
    times = np.concatenate([[0.0], np.cumsum(waits)])
    times *= process.options.member_divergence / times[-1]
    lineages, births = [root, root], [0.0, 0.0]
    for now in times[1:-1]:
        chosen = int(process.rng.integers(len(lineages)))
        parent = _evolve(lineages[chosen], now - births[chosen], process=process)
        lineages[chosen], births[chosen] = parent, now
        lineages.append(parent)
        births.append(now)
    return [
        _evolve(lineage, times[-1] - birth, process=process)
        for lineage, birth in zip(lineages, births, strict=True)
    ]


def _evolve(lineage: _Lineage, time: float, *, process: _Process) -> _Lineage:
    """A descendant after a branch of ``time`` expected replacements per site."""
    model, rng = process.model, process.rng
    # Row s of exp(Q r t) is (left[s] * exp(eigenvalues r t)) @ right: one product for all sites.
    decay = np.exp(np.outer(lineage.rates * time, model.eigenvalues))  # (L, 20)
    chances = (model.left[lineage.residues] * decay) @ model.right  # (L, 20)
    cumulated = np.cumsum(chances, axis=1)
    draws = rng.random(len(chances)) * cumulated[:, -1]
    evolved = _Lineage((cumulated < draws[:, None]).sum(axis=1), lineage.rates)
    num_indels = rng.poisson(process.options.indel_rate * time * lineage.rates.sum())
    for _ in range(int(num_indels)):
        evolved = _indel(evolved, process)
    return evolved


def _indel(lineage: _Lineage, process: _Process) -> _Lineage:
    """Insert or delete, with equal chance; conserved sites are spared as they are from change."""
    num_sites = len(lineage.residues)
    length = int(process.rng.geometric(1 / process.options.mean_indel_length))
    place = int(process.rng.choice(num_sites, p=lineage.rates / lineage.rates.sum()))
    if process.rng.random() < 0.5:
        new = _fresh_sites(length, process)
        return _Lineage(
            np.insert(lineage.residues, place, new.residues),
            np.insert(lineage.rates, place, new.rates),
        )
    gone = slice(place, place + max(0, min(length, num_sites - process.options.min_length)))
    return _Lineage(np.delete(lineage.residues, gone), np.delete(lineage.rates, gone))
