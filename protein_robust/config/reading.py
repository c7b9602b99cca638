"""A study file read, overridden and checked: every mistake in it at once, each with its line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from protein_robust.config.images import AugmentationConfig, ImageDataConfig, ResNetModelConfig
from protein_robust.config.loss_checks import check_losses
from protein_robust.config.modality import (
    IMAGE_DATA,
    IMAGE_MODEL,
    SEQUENCE_DATA,
    SEQUENCE_MODEL,
)
from protein_robust.config.schema import (
    CheckpointConfig,
    LossConfig,
    ModelConfig,
    StudyConfig,
    TrackingConfig,
    TrainingConfig,
)
from protein_robust.config.sections import (
    CropConfig,
    DataConfig,
    LabelConfig,
    NoiseConfig,
    SplitFiles,
)
from protein_robust.errors import ConfigError, InputError, Problem
from protein_robust.models.resnet import Architecture

PRESETS = "presets"
"""A key beside the sections of a study: name -> what is different under that name."""


def load_study(
    path: Path, overrides: Sequence[str] = (), *, preset: str | None = None
) -> StudyConfig:
    """Read a study.

    Args:
        path: the YAML file.
        overrides: ``section.key=value`` texts that replace entries; values are YAML, and numbers
            count the entries of a list.
        preset: of the file's ``presets``: its sections are put over those of the study, key by key
            (a list is replaced whole), before the overrides; the study is then called NAME_PRESET,
            unless the preset has a name of its own. None for the study as it is.

    Returns:
        The study, complete with defaults.

    Raises:
        InputError: if the file cannot be read, or has no such preset.
        ConfigError: with all problems, if it is no YAML or an entry is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "bytes that are no UTF-8"
        raise InputError("a readable study file", reason.lower(), path=path) from error
    raw, lines, problems = _parse(text, path)
    if (presets := raw.pop(PRESETS, None)) is not None or preset is not None:
        _apply_preset(raw, presets, preset, path)
    for override in overrides:
        problems += _override(raw, override)
    try:
        study = StudyConfig.model_validate(raw)
    except ValidationError as error:
        problems += [problem for details in error.errors() for problem in _explain(details)]
    problems += check_losses(raw.get("losses"))
    if problems:
        first = "" if preset is None else f"{PRESETS}.{preset}."
        raise ConfigError([_with_line(problem, lines, first) for problem in problems], path=path)
    return study


def _apply_preset(raw: dict[str, Any], presets: Any, chosen: str | None, path: Path) -> None:
    """Put the sections of a preset over those of the study."""
    if not isinstance(presets, dict | None) or any(
        not isinstance(preset, dict) for preset in (presets or {}).values()
    ):
        raise InputError(f"sections below each name in `{PRESETS}`", "something else", path=path)
    if chosen is None:
        return
    presets = presets or {}
    if chosen not in presets:
        known = f"--preset one of {', '.join(presets)}"
        expected = known if presets else "no --preset, since this study has no presets"
        raise InputError(expected, repr(chosen), path=path)
    own_name = {"name": f"{raw.get('name')}_{chosen}"}
    raw.update(_merged(raw, {**own_name, **presets[chosen]}))


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; anything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = _section(key, merged.get(key))
        merged[key] = _merged(under, value) if isinstance(value, dict) else value
    return merged


def _section(key: str, value: Any) -> dict[str, Any]:
    """What is changed key by key: a section as it is; of a word, what it stands for."""
    if isinstance(value, dict):
        return value
    # `model: resnet20` names a network, and keeps it where only its other keys are changed.
    is_network = key == "model" and value in get_args(Architecture)
    return {"architecture": value} if is_network else {}


def dump_yaml(study: StudyConfig) -> str:
    """The complete study, defaults included, as YAML that `load_study` reads back to the same."""
    content = {**study.model_dump(mode="json"), "losses": [_flat(loss) for loss in study.losses]}
    return yaml.safe_dump(content, sort_keys=False)


def _flat(loss: LossConfig) -> dict[str, Any]:
    """A loss as it stands in a file; of its own training only what it says."""
    content = loss.model_dump(mode="json", exclude_unset=True)
    parameters = content.pop("parameters")
    return {**content, **parameters}


def _parse(text: str, path: Path) -> tuple[dict[str, Any], dict[str, int], list[Problem]]:
    """The file's content, the line of each dotted key, and keys that stand twice."""
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
        if root is not None:
            _walk(root, (), lines, problems)
    except RecursionError as error:
        problem = Problem("YAML", "Expected a file without circles, got one too deep to read.")
        raise ConfigError([problem], path=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            [Problem("YAML", f"cannot be read: {reason}", line)], path=path
        ) from error
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        message = f"Expected keys such as `name` and `data`, got {found}."
        raise ConfigError([Problem("study", message)], path=path)
    return raw, lines, problems


def _walk(
    node: yaml.Node, at: tuple[str, ...], lines: dict[str, int], problems: list[Problem]
) -> None:
    """Note the line of every entry below a YAML node."""
    if isinstance(node, yaml.MappingNode):
        entries = [((*at, str(key.value)), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        entries = [((*at, str(i)), value, value) for i, value in enumerate(node.value)]
    else:
        return
    for place, mark, value in entries:
        dotted = ".".join(place)
        if dotted in lines:
            message = f"Expected each key once, got it again (first in line {lines[dotted]})."
            problems.append(Problem(dotted, message, mark.start_mark.line + 1))
        lines[dotted] = mark.start_mark.line + 1
        _walk(value, place, lines, problems)


def _override(raw: dict[str, Any], text: str) -> list[Problem]:
    """Apply one ``section.key=value``; unknown keys are found later, by the schema."""
    key, equals, value_text = text.partition("=")
    if not equals or not key.strip():
        return [Problem(f"--set {text}", "Expected section.key=value, got no key and value.")]
    try:
        value = yaml.safe_load(value_text)
    except yaml.YAMLError:
        return [Problem(f"--set {key}", f"Expected a YAML value, got {value_text!r}.")]
    place: Any = raw
    *sections, last = key.strip().split(".")
    for section in sections:
        # A section that is absent, or a word such as `model: paper`, is begun anew.
        if isinstance(place, dict) and not isinstance(place.get(section), dict | list):
            place[section] = _section(section, place.get(section))
        step = _position(place, section)
        if step is None:
            return [_no_entry(key, section, place)]
        place = place[step]
    step = last if isinstance(place, dict) else _position(place, last)
    if step is None:
        return [_no_entry(key, last, place)]
    place[step] = value
    return []


def _position(place: dict[str, Any] | list[Any], section: str) -> Any:
    """The key or list position that a word names there, or None where there is none."""
    if isinstance(place, dict):
        return section
    return int(section) if section.isdigit() and int(section) < len(place) else None


def _no_entry(key: str, section: str, place: Sequence[Any]) -> Problem:
    message = f"Expected an entry from 0 to {len(place) - 1}, got {section!r}."
    return Problem(f"--set {key}", message)


_KIND_SECTIONS: dict[str, type[BaseModel]] = {
    IMAGE_DATA: ImageDataConfig,
    SEQUENCE_DATA: DataConfig,
    IMAGE_MODEL: ResNetModelConfig,
    SEQUENCE_MODEL: ModelConfig,
}
_KINDS = {"file", "files", "splits", *_KIND_SECTIONS}


def _explain(details: Any) -> list[Problem]:
    """One of pydantic's errors in our words."""
    # The kinds of sources and sections stand in the location; they are no keys of the file.
    whole = [str(part) for part in details["loc"]]
    place = [part for part in whole if part not in _KINDS]
    key = ".".join(place) or "study"  # what does not fit together is of no one key
    given = _shown(details["input"])
    if details["type"] == "extra_forbidden":
        return [Problem(key, _unknown_key(whole))]
    if details["type"] == "missing":
        return [Problem(key, "Expected a value, got none.")]
    if details["type"] == "model_type":
        return [Problem(key, f"Expected a section of keys, got {given}.")]
    message = details["msg"].removeprefix("Value error, ")
    if message.startswith("Expected"):
        return [Problem(key, message)]
    expectation = re.sub(r"^(Input|Value|String|List|Tuple) should (be|have|match) ", "", message)
    return [Problem(key, f"Expected {expectation}, got {given}.")]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown_key(place: Sequence[str]) -> str:
    valid = _fields_at(place[:-1])
    nearest = get_close_matches(place[-1], valid, n=1)
    hint = f"did you mean `{nearest[0]}`? " if nearest else ""
    return f"Unknown key; {hint}Valid here: {', '.join(valid)}."


def _fields_at(place: Sequence[str]) -> list[str]:
    """Keys that the schema has at a place."""
    model: type[BaseModel] = StudyConfig
    sections: dict[str, type[BaseModel]] = {
        **_KIND_SECTIONS,
        "source": SplitFiles,
        "noise": NoiseConfig,
        "crop": CropConfig,
        "label": LabelConfig,
        "augmentation": AugmentationConfig,
        "training": TrainingConfig,
        "losses": LossConfig,
        "checkpoints": CheckpointConfig,
        "tracking": TrackingConfig,
    }
    for name in place:
        model = sections.get(name, model)
    return list(model.model_fields)


def _with_line(problem: Problem, lines: Mapping[str, int], preset: str) -> Problem:
    """Add the line of the entry, or of the nearest section that stands in the file.

    What stands below the preset, a dotted key or nothing, counts first, and alone where a list of
    the preset replaced that of the study.
    """
    parts = problem.key.split(".")
    keys = [".".join(parts[:number]) for number in range(len(parts), 0, -1)]
    is_replaced = any(f"{preset}{key}.0" in lines for key in keys)
    places = [first + key for key in keys for first in ([preset] if is_replaced else [preset, ""])]
    place = next((place for place in places if place in lines), None)
    if place is None or problem.line is not None:
        return problem
    return dataclasses.replace(problem, line=lines[place])
