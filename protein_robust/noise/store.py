"""The noise of one run as files: `labels.parquet`, `crops.parquet`, and last `manifest.json`.

Labels are corrupted in the training split only. The training set that results has the rows of
``train``, then those added of ``unlabelled``, then those added of ``heldout``, each in ascending
order. The stored crops are the fixed ones that evaluation uses, one for every sequence; training
draws fresh ones by the same rule.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.additions import Addition, draw_additions
from protein_robust.noise.crops import CropRule, Crops, draw_crops
from protein_robust.noise.inputs import ADDED, SPLITS, Arrays, NoiseInputs
from protein_robust.noise.labels import ORIGINS, UNKNOWN, LabelNoise, corrupt_labels
from protein_robust.noise.manifest import (
    array_sha256,
    crops_sha256,
    describe_crops,
    describe_labels,
)
from protein_robust.noise.rules import LabelRule

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class NoiseSetting:
    """Both kinds of noise, and the seed that they are drawn with.

    Attributes:
        label: what is done to training labels.
        crop: what is done to sequences.
        seed: of both, and of nothing else.
    """

    label: LabelRule
    crop: CropRule
    seed: int


@dataclass(frozen=True)
class Noise:
    """What `make_noise` wrote.

    Attributes:
        labels: of the resulting training set.
        added: rows of ``unlabelled`` and of ``heldout`` that are in it, ascending, int64.
        crops: the fixed evaluation crops of each split; those of the resulting training set.
        manifest: the record of what was done.
    """

    labels: LabelNoise
    added: Arrays
    crops: Mapping[str, Crops]
    manifest: Mapping[str, Any]


def make_noise(folder: Path, setting: NoiseSetting, *, inputs: NoiseInputs) -> Noise:
    """Draw the noise and write it, replacing what the folder held.

    Args:
        folder: where to write.
        setting: what to draw.
        inputs: what the data set holds.

    Returns:
        The noise.

    Raises:
        InputError: if the rule names classes or an annotation that are not there, does not fit the
            classes, or adds more than there is.
    """
    clean, rule = inputs.labels["train"], setting.label
    rng = np.random.default_rng([setting.seed, 0])
    annotation = inputs.annotation_for(rule)
    noise = corrupt_labels(clean, inputs.classes, rule=rule, rng=rng, annotation=annotation)
    other = {origin: inputs.lengths.get(origin, np.zeros(0, np.int64)) for origin in ADDED}
    available = {"train": len(clean), **{origin: len(found) for origin, found in other.items()}}
    num_classes = len(inputs.classes)
    additions = draw_additions(rule, available, num_classes=num_classes, seed=setting.seed)
    noise = _with_additions(noise, additions)
    added = {origin: addition.rows for origin, addition in additions.items()}
    taken = {origin: other[origin][rows] for origin, rows in added.items()}
    crops = _draw_all_crops(setting, inputs.lengths, taken)
    record = {
        "schema_version": SCHEMA_VERSION,
        "kind": "noise",
        "dataset_digest": inputs.dataset_digest,
        "seed": setting.seed,
        **describe_labels(
            noise, inputs.classes, added=added, available=available, conflicts=inputs.conflicts
        ),
        "crop_rule": asdict(setting.crop),
        **describe_crops(crops, _resulting_lengths(inputs.lengths, taken)),
    }
    made = Noise(noise, added, crops, {**record, "digest": _digest(record)})
    _write(folder, made)
    return made


def read_noise(folder: Path) -> Noise:
    """Read what `make_noise` wrote.

    Raises:
        InputError: if a file is missing, cannot be read, or is not the one that the manifest
            describes, so the folder was not completed, or was changed.
    """
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = f"{type(error).__name__} ({error})"
        raise InputError("a complete noise folder", reason, path=folder) from error


def _with_additions(noise: LabelNoise, additions: Mapping[str, Addition]) -> LabelNoise:
    """The labels of ``train``, and after them those of what is added."""
    label = [noise.label, *(addition.label for addition in additions.values())]
    sizes = [len(part) for part in label]
    origin = np.repeat(np.arange(len(ORIGINS), dtype=np.int8), sizes)
    unknown = np.full(sum(sizes[1:]), UNKNOWN, np.int64)
    clean = np.concatenate([noise.clean_label, unknown])
    return LabelNoise(noise.rule, clean, np.concatenate(label), origin, noise.pairs)


def _draw_all_crops(setting: NoiseSetting, lengths: Arrays, taken: Arrays) -> dict[str, Crops]:
    """Crops of each split, and after those of ``train`` the ones of what is added to it."""
    parts = {**{split: lengths[split] for split in SPLITS if split in lengths}, **taken}
    drawn = {}
    for number, name in enumerate((*SPLITS, *ADDED)):
        # A stream for each, so that none depends on the size of another.
        rng = np.random.default_rng([setting.seed, 1, number])
        if name in parts:
            drawn[name] = draw_crops(parts[name], rule=setting.crop, rng=rng)
    whole = [drawn["train"], *(drawn.pop(origin) for origin in taken)]
    joined = {
        field.name: np.concatenate([getattr(crops, field.name) for crops in whole])
        for field in fields(Crops)
    }
    return {**drawn, "train": Crops(**joined)}


def _resulting_lengths(lengths: Arrays, taken: Arrays) -> dict[str, NDArray[np.int64]]:
    return {**lengths, "train": np.concatenate([lengths["train"], *taken.values()])}


def _read(folder: Path) -> Noise:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {manifest['schema_version']}, not {SCHEMA_VERSION}")
    if manifest["digest"] != _digest({k: v for k, v in manifest.items() if k != "digest"}):
        raise ValueError("manifest.json was changed")
    table = pq.read_table(folder / "labels.parquet")
    origin = _column(pc.index_in(table["origin"], value_set=pa.array(ORIGINS))).astype(np.int8)
    clean, label = _column(table["clean_label"]), _column(table["label"])
    pairs = tuple((first, second) for first, second in manifest["drawn_pairs"])
    labels = LabelNoise(LabelRule(**manifest["label_rule"]), clean, label, origin, pairs)
    row = _column(table["row"])
    added = {name: row[origin == ORIGINS.index(name)] for name in ADDED}
    stored = pq.read_table(folder / "crops.parquet")
    parts = [_column(stored[field.name]) for field in fields(Crops)]
    # The manifest names every split, in the order of the table; an empty one has no row there.
    ends = np.cumsum(list(manifest["num_sequences"].values()))[:-1]
    divided = zip(*(np.split(part, ends) for part in parts), strict=True)
    crops = {k: Crops(*part) for k, part in zip(manifest["num_sequences"], divided, strict=True)}
    _check_hashes(manifest, labels, crops)
    return Noise(labels, added, crops, manifest)


def _column(values: pa.ChunkedArray) -> NDArray[np.int64]:
    """Values of a column without nulls, in an array that may be written to."""
    if values.null_count:
        raise ValueError(f"{values.null_count} values that are null or not known")
    numbers: NDArray[np.int64] = values.to_numpy().astype(np.int64)
    return numbers


def _check_hashes(
    manifest: Mapping[str, Any], labels: LabelNoise, crops: Mapping[str, Crops]
) -> None:
    found = {
        "clean_labels_sha256": array_sha256(labels.clean_label),
        "labels_sha256": array_sha256(labels.label),
        "crops_sha256": {split: crops_sha256(crop) for split, crop in crops.items()},
    }
    for name, value in found.items():
        if manifest[name] != value:
            raise ValueError(f"{name} of the manifest does not agree with the file")


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _write(folder: Path, noise: Noise) -> None:
    """Write under a temporary name in the same folder, then rename."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    pq.write_table(_label_table(noise), temporary / "labels.parquet")
    pq.write_table(_crop_table(noise.crops), temporary / "crops.parquet")
    # A line for each entry: one for each number of a list would take seconds for a release.
    entries = (f" {json.dumps(k)}: {json.dumps(v)}" for k, v in noise.manifest.items())
    text = "{\n" + ",\n".join(entries) + "\n}\n"
    (temporary / "manifest.json").write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _label_table(noise: Noise) -> pa.Table:
    labels = noise.labels
    num_train = len(labels.label) - sum(len(rows) for rows in noise.added.values())
    return pa.table(
        {
            "clean_label": labels.clean_label,
            "label": labels.label,
            # Null where nobody knows.
            "is_corrupted": pa.array(labels.is_corrupted, mask=~labels.is_known),
            "origin": pa.DictionaryArray.from_arrays(labels.origin, ORIGINS),
            "row": np.concatenate([np.arange(num_train), *noise.added.values()]),
        }
    )


def _crop_table(crops: Mapping[str, Crops]) -> pa.Table:
    split = np.repeat(np.arange(len(crops), dtype=np.int8), [len(c.start) for c in crops.values()])
    columns = {
        field.name: np.concatenate([getattr(crop, field.name) for crop in crops.values()])
        for field in fields(Crops)
    }
    return pa.table({"split": pa.DictionaryArray.from_arrays(split, list(crops)), **columns})
