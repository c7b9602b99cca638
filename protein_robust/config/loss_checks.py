"""Every mistake in the losses of a study: names, parameters, and whom they learn from."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from protein_robust.config.schema import LossConfig
from protein_robust.errors import InputError, Problem
from protein_robust.losses import LOSSES, make_loss, teacher_of


def check_losses(entries: Any) -> list[Problem]:
    """Find every wrong loss, also where the schema has found mistakes elsewhere.

    Args:
        entries: of a study file, as they were read.

    Returns:
        The mistakes.
    """
    problems: list[Problem] = []
    known: dict[int, LossConfig] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        loss = _read(entry) or _read(_without_sections(entry))
        if loss is None:
            continue  # reported by the schema
        problems += _check_loss(loss, number)
        if loss.name in LOSSES and _read(entry) is not None:
            known[number] = loss
    return problems + _check_teachers(known)


def _read(entry: Any) -> LossConfig | None:
    """A loss, or None where the schema refuses it."""
    try:
        return LossConfig.model_validate(entry)
    except ValidationError:
        return None


def _without_sections(entry: Any) -> Any:
    """The name and parameters of a loss, to be looked at where the rest is wrong."""
    if not isinstance(entry, Mapping):
        return entry
    return {k: v for k, v in entry.items() if k not in ("label", "teacher", "training")}


def _check_loss(loss: LossConfig, number: int) -> list[Problem]:
    """Every wrong parameter of a loss."""
    key = f"losses.{number}"
    if loss.name not in LOSSES:
        nearest = get_close_matches(loss.name, LOSSES, n=1)
        hint = f"did you mean `{nearest[0]}`? " if nearest else ""
        message = f"Unknown loss {loss.name!r}; {hint}Valid: {', '.join(LOSSES)}."
        return [Problem(f"{key}.name", message)]
    valid = [field.name for field in dataclasses.fields(LOSSES[loss.name])]
    problems = []
    for name in loss.parameters:
        if name not in valid:
            nearest = get_close_matches(name, valid, n=1)
            hint = f"did you mean `{nearest[0]}`? " if nearest else ""
            listed = ", ".join(valid) or "none"
            message = f"Unknown parameter of {loss.name}; {hint}Valid: {listed}."
            problems.append(Problem(f"{key}.{name}", message))
    known = {name: value for name, value in loss.parameters.items() if name in valid}
    return problems + _check_values(loss.name, known, key)


def _check_values(loss: str, parameters: Mapping[str, Any], key: str) -> list[Problem]:
    """Every wrong value of a loss's parameters, or of several together."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            make_loss(loss, **parameters)
            whole = None
        except InputError as error:
            whole = Problem(key, str(error))
    if whole is None:
        for warning in caught:
            warnings.warn(f"{key} ({loss}): {warning.message}", warning.category, stacklevel=2)
        return []
    problems = []
    # What numbers may be depends on choices, which are words; so the right ones go along.
    choices: dict[str, Any] = {}
    for name, value in sorted(parameters.items(), key=lambda item: not isinstance(item[1], str)):
        try:
            make_loss(loss, **{**choices, name: value})
        except InputError as error:
            problems.append(Problem(f"{key}.{name}", str(error)))
        else:
            choices |= {name: value} if isinstance(value, str) else {}
    return problems or [whole]


def _check_teachers(losses: Mapping[int, LossConfig]) -> list[Problem]:
    """Losses that lack the run they learn from, or have one that is of no use to them."""
    problems = []
    earlier: dict[str, str] = {}  # label to name
    for number, loss in losses.items():
        message = _wrong_teacher(loss, earlier, [other.label for other in losses.values()])
        if message is not None:
            problems.append(Problem(f"losses.{number}.teacher", message))
        earlier[loss.label] = loss.name
    return problems


def _wrong_teacher(
    loss: LossConfig, earlier: Mapping[str, str], labels: Sequence[str]
) -> str | None:
    """What is wrong with the teacher of a loss, or None."""
    wanted, given = teacher_of(loss.name), loss.teacher
    if wanted is None:
        if given is None:
            return None
        able = ", ".join(name for name in LOSSES if teacher_of(name))
        return (
            f"Expected none, since {loss.name} learns from no other run ({able} do), got {given!r}."
        )
    expected = "Expected the label of an earlier loss or the folder of a trained run"
    if given is None:
        return f"{expected}, got none."
    if given not in earlier:
        if Path(given).is_dir():
            return None
        nearest = get_close_matches(given, earlier, n=1)
        hint = f" (did you mean `{nearest[0]}`?)" if nearest else ""
        hint = " (that one does not stand earlier)" if given in labels else hint
        return f"{expected}, got {given!r}{hint}."
    if wanted == "labels" and not hasattr(LOSSES[earlier[given]], "new_memory"):
        able = ", ".join(name for name in LOSSES if hasattr(LOSSES[name], "new_memory"))
        return f"Expected a loss that arrives at labels ({able}), got {earlier[given]}."
    return None
