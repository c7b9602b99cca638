"""The engine that a user names, with its options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protein_robust import ranks
from protein_robust.errors import InputError
from protein_robust.study.engines.engine import Engine
from protein_robust.study.engines.local import LocalEngine
from protein_robust.study.engines.ray_cluster import RayEngine
from protein_robust.study.engines.slurm import SlurmEngine


def make_engine(name: str, options: Sequence[str], folder: Path) -> Engine:
    """Choose an engine; what is wrong with its options shows here.

    Args:
        name: ``local``, ``slurm`` or ``ray``.
        options: texts KEY=VALUE; a value is read as JSON where it is JSON, else as a text.
        folder: of the study, which every worker sees.

    Returns:
        The engine, which has begun nothing yet.

    Raises:
        InputError: for an engine that is not installed, or an option that it does not take.
        ValueError: for another name.
    """
    chosen = dict(_option(text) for text in options)
    if name == "local":
        if chosen:
            expected = "no engine options for local (`--jobs` is one of the command)"
            raise InputError(expected, ", ".join(sorted(chosen)))
        return LocalEngine()
    if ranks.are_several():
        expected = "`--engine local` where processes train together"
        raise InputError(expected, repr(name))
    if name == "slurm":
        return SlurmEngine.of(chosen, folder / "jobs")
    if name == "ray":
        return RayEngine.of(chosen)
    raise ValueError(f"Expected `name` local, slurm or ray, got {name!r}.")


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError("an engine option KEY=VALUE", repr(text))
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
