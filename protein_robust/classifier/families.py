"""The families that a classifier knows, and the clans that they are members of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Families:
    """The K classes, in the order of the network's logits.

    Attributes:
        accession: such as ``PF00001.21``, K.
        family_id: short name such as ``7tm_1``, or None where nobody gave one, K.
        description: one line of text, or None, K.
        clan: such as ``CL0192``, or None for a family that is in no clan, K.

    Raises:
        ValueError: if there are fewer than 2 families, or the lists differ in length.
    """

    accession: tuple[str, ...]
    family_id: tuple[str | None, ...]
    description: tuple[str | None, ...]
    clan: tuple[str | None, ...]

    def __post_init__(self) -> None:
        """Check the lengths."""
        lengths = {len(getattr(self, field.name)) for field in fields(self)}
        if len(lengths) != 1 or len(self.accession) < 2:
            raise ValueError(f"Expected lists of one length of at least 2, got {sorted(lengths)}.")

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> Families:
        """Take the columns of a dataset's `families.parquet`, or of `model.json`.

        Args:
            columns: at least ``accession`` or ``family_accession``, ``family_id``, ``description``
                and ``clan``.

        Raises:
            KeyError: if one is missing.
            ValueError: if they differ in length.
        """
        name = "accession" if "accession" in columns else "family_accession"
        rest = (tuple(columns[key]) for key in ("family_id", "description", "clan"))
        return cls(tuple(columns[name]), *rest)

    def __len__(self) -> int:
        """K."""
        return len(self.accession)

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """Number of each family's clan, shape (K,), int64; a family without one is its own.

        The numbers count from 0 in the order of the families, so there are at most K of them.
        """
        numbers: dict[tuple[str, int], int] = {}
        keys = [("", place) if clan is None else (clan, -1) for place, clan in enumerate(self.clan)]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)

    @cached_property
    def group_clan(self) -> tuple[str | None, ...]:
        """The clan that each number of `group` means; None where it is a single family."""
        _, first = np.unique(self.group, return_index=True)
        return tuple(self.clan[place] for place in first)

    def text(self, place: int) -> str | None:
        """What a family is, in words: its description, else its short name."""
        return self.description[place] or self.family_id[place]
