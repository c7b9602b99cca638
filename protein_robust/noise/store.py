"""The noise of one run as files: `labels.parquet`, `crops.parquet`, and last `manifest.json`.

Labels are corrupted in the training split only. The stored crops are the fixed ones that evaluation
uses, one for every sequence; training draws fresh ones by the same rule.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.crops import CropRule, Crops, draw_crops
from protein_robust.noise.labels import LabelNoise, LabelRule, corrupt_labels

SCHEMA_VERSION = 1


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
        labels: of the training split.
        crops: the fixed evaluation crops of each split.
        manifest: the record of what was done.
    """

    labels: LabelNoise
    crops: Mapping[str, Crops]
    manifest: Mapping[str, Any]


def make_noise(
    folder: Path,
    setting: NoiseSetting,
    *,
    labels: Mapping[str, NDArray[np.int64]],
    lengths: Mapping[str, NDArray[np.int64]],
    num_classes: int,
    dataset_digest: str,
) -> Noise:
    """Draw the noise and write it, replacing what the folder held.

    Args:
        folder: where to write.
        setting: what to draw.
        labels: clean classes of each split, arrays of shape (N_split,), int64.
        lengths: residues of each sequence of each split, arrays of shape (N_split,), int64.
        num_classes: K.
        dataset_digest: of the data set that the noise belongs to.

    Returns:
        The noise.
    """
    rng = np.random.default_rng([setting.seed, 0])
    noise = corrupt_labels(labels["train"], num_classes, rule=setting.label, rng=rng)
    crops = {
        # A stream for each split, so that none depends on the size of another.
        split: draw_crops(
            lengths[split], rule=setting.crop, rng=np.random.default_rng([setting.seed, 1, number])
        )
        for number, split in enumerate(lengths)
    }
    manifest = _manifest(setting, noise, crops, lengths, dataset_digest)
    _write(folder, noise, crops, manifest)
    return Noise(noise, crops, manifest)


def read_noise(folder: Path) -> Noise:
    """Read what `make_noise` wrote.

    Raises:
        InputError: if a file is missing or cannot be read, so the folder was not completed.
    """
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__} ({error})"
        raise InputError("a complete noise folder", reason, path=folder) from error


def _read(folder: Path) -> Noise:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    labels = pd.read_parquet(folder / "labels.parquet")
    stored = pd.read_parquet(folder / "crops.parquet")
    # The manifest names every split; the table has no row of an empty one.
    parts = {split: stored[stored["split"] == split] for split in manifest["crops_sha256"]}
    return Noise(
        LabelNoise(
            LabelRule(**manifest["label_rule"]),
            labels["clean_label"].to_numpy(np.int64),
            labels["label"].to_numpy(np.int64),
        ),
        {
            split: Crops(part["start"].to_numpy(np.int64), part["length"].to_numpy(np.int64))
            for split, part in parts.items()
        },
        manifest,
    )


def _sha256(values: NDArray[np.int64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()


def _manifest(
    setting: NoiseSetting,
    noise: LabelNoise,
    crops: Mapping[str, Crops],
    lengths: Mapping[str, NDArray[np.int64]],
    dataset_digest: str,
) -> dict[str, Any]:
    classes, place, sizes = np.unique(noise.clean_label, return_inverse=True, return_counts=True)
    changed = np.bincount(place, weights=noise.is_corrupted, minlength=len(classes))
    record = {
        "schema_version": SCHEMA_VERSION,
        "kind": "noise",
        "dataset_digest": dataset_digest,
        "seed": setting.seed,
        "label_rule": asdict(setting.label),
        "own_class": "excluded",
        "requested_rate": setting.label.rate,
        "actual_rate": noise.actual_rate,
        "actual_rate_by_class": {
            str(c): float(part) for c, part in zip(classes, changed / sizes, strict=True)
        },
        "clean_labels_sha256": _sha256(noise.clean_label),
        "labels_sha256": _sha256(noise.label),
        "changed_indices": np.flatnonzero(noise.is_corrupted).tolist(),
        "crop_rule": asdict(setting.crop),
        "mean_kept_fraction": {
            split: float((crop.length / lengths[split]).mean()) if len(crop.length) else None
            for split, crop in crops.items()
        },
        "crops_sha256": {
            split: _sha256(np.stack([crop.start, crop.length])) for split, crop in crops.items()
        },
    }
    text = json.dumps(record, sort_keys=True)
    return {**record, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _write(
    folder: Path, noise: LabelNoise, crops: Mapping[str, Crops], manifest: Mapping[str, Any]
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    pd.DataFrame(
        {
            "clean_label": noise.clean_label,
            "label": noise.label,
            "is_corrupted": noise.is_corrupted,
        }
    ).to_parquet(temporary / "labels.parquet")
    pd.concat(
        [
            pd.DataFrame({"split": split, "start": crop.start, "length": crop.length})
            for split, crop in crops.items()
        ]
    ).to_parquet(temporary / "crops.parquet")
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
