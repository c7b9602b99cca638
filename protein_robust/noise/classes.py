"""What label noise knows of the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Classes:
    """The K classes, in the order of their numbers.

    Attributes:
        accessions: name of each, no two the same.
        clans: clan of each, None where it has none.
        nearest: gives the class that is most like each one, and another one, shape (K,), int64; as
            `protein_robust.noise.nearest_families` does. Called only where a rule needs it, since
            it takes seconds. None: not known.

    Raises:
        ValueError: if there are not as many clans as accessions, or an accession occurs twice.
    """

    accessions: tuple[str, ...]
    clans: tuple[str | None, ...]
    nearest: Callable[[], NDArray[np.int64]] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the sizes and the names."""
        if len(self.clans) != len(self.accessions):
            expected = f"a clan or None for each of {len(self.accessions)} accessions"
            raise ValueError(f"Expected `clans` with {expected}, got {len(self.clans)}.")
        if len(set(self.accessions)) != len(self.accessions):
            twice = next(a for a in self.accessions if self.accessions.count(a) > 1)
            raise ValueError(f"Expected `accessions` that differ, got {twice!r} twice.")

    def __len__(self) -> int:
        """K."""
        return len(self.accessions)

    def next_classes(self) -> NDArray[np.int64]:
        """The class after each one in the order of accessions, the first after the last; (K,)."""
        order = np.array(sorted(range(len(self)), key=self.accessions.__getitem__), np.int64)
        following = np.empty_like(order)
        following[order] = np.roll(order, -1)
        return following

    def clan_groups(self) -> NDArray[np.int64]:
        """A number for each class, shared by the classes of a clan and by no others; (K,)."""
        # The place stands for a class without a clan: an integer is never a clan's name.
        keys = [place if clan is None else clan for place, clan in enumerate(self.clans)]
        number_of: dict[int | str, int] = {}
        return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)

    def nearest_classes(self) -> NDArray[np.int64]:
        """The class most like each one, checked; shape (K,).

        Raises:
            ValueError: if it is not known, or does not name another class for each class.
        """
        if self.nearest is None:
            expected = "`nearest` where a class has no other class of its clan in the data"
            raise ValueError(f"Expected {expected}, got None.")
        near = self.nearest()
        own = np.arange(len(self))
        if near.shape != own.shape or ((near < 0) | (near >= len(self)) | (near == own)).any():
            expected = f"`nearest` with another class of [0, {len(self)}) for each class"
            raise ValueError(f"Expected {expected}, got {near}.")
        return near
