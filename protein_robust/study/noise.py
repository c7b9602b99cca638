"""The noise of a run: what it needs to know of the data set, read and handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest import (
    OTHER_SPLITS,
    SPLITS,
    read_conflicts,
    read_families,
    read_sequences,
)
from protein_robust.ingest.images import human_labels_of, read_image_table
from protein_robust.ingest.readers.clans import without_version
from protein_robust.noise import (
    Classes,
    CropRule,
    LabelRule,
    NoiseInputs,
    NoiseSetting,
    make_noise,
    nearest_families,
    read_noise,
)
from protein_robust.study.plan import PlannedRun

T = TypeVar("T")


def prepare_noise(run: PlannedRun) -> None:
    """Draw and write the noise of a run, unless it is there already.

    Args:
        run: the run; its data set is there.

    Raises:
        InputError: if the noise folder cannot be written, or the noise asks for what the data set
            does not have.
    """
    try:
        read_noise(run.noise_folder)
        return
    except InputError:
        pass  # absent, or not whole: drawn anew, to the same numbers
    inputs_of = _inputs_of_images if run.is_of_images else _inputs
    inputs = inputs_of(run.dataset_folder, run.inputs["dataset_digest"])
    noise = run.inputs["noise"]
    try:
        rule = _with_versions(LabelRule(**noise["label"]), inputs.classes.accessions)
        setting = NoiseSetting(rule, CropRule(**noise["crop"]), run.seed)
        _require_added(rule, inputs)
        make_noise(run.noise_folder, setting, inputs=inputs)
    except InputError as error:
        where = f"noise {run.noise!r} of study {run.study!r}"
        raise InputError(error.expected, error.actual, path=where) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("a folder to write", reason, path=run.noise_folder) from error


def _inputs(folder: Path, digest: str) -> NoiseInputs:
    """What noise needs to know of a data set."""
    columns = ["sequence", "label"]
    tables = {
        split: read_sequences(folder, split, columns=columns) for split in (*SPLITS, *OTHER_SPLITS)
    }
    lengths = {
        split: pc.binary_length(table["sequence"]).to_numpy().astype(np.int64)
        for split, table in tables.items()
    }
    labels = {split: tables[split]["label"].to_numpy().astype(np.int64) for split in SPLITS}
    families = read_families(folder)
    train = tables["train"]
    classes = Classes(
        tuple(families["family_accession"].to_pylist()),
        tuple(families["clan"].to_pylist()),
        cache(partial(_nearest, train, len(families))),
    )
    return NoiseInputs(labels, lengths, classes, digest, _conflicts(folder, train["sequence"]))


def _inputs_of_images(folder: Path, digest: str) -> NoiseInputs:
    """The same of images, of which each is one thing, not to be cropped: all are of length 1."""
    tables = {split: read_image_table(folder, split, columns=["label"]) for split in SPLITS}
    labels = {split: table["label"].to_numpy().astype(np.int64) for split, table in tables.items()}
    families = read_families(folder)
    classes = Classes(
        tuple(families["family_accession"].to_pylist()),
        tuple(families["clan"].to_pylist()),
        _no_likeness,
    )
    lengths = {split: np.ones_like(label) for split, label in labels.items()}
    lengths |= {split: np.zeros(0, np.int64) for split in OTHER_SPLITS}
    annotations = human_labels_of(folder)
    return NoiseInputs(labels, lengths, classes, digest, annotations=annotations)


def _no_likeness() -> NDArray[np.int64]:
    """Which classes of images look alike is not measured: superclasses must say it."""
    expected = "a superclass with another class for each class where `kind` is clan"
    raise InputError(expected, "a class without one")


def _nearest(train: pa.Table, num_classes: int) -> NDArray[np.int64]:
    """The class whose training sequences are most like those of each one."""
    column = train["sequence"].cast(pa.large_binary()).combine_chunks()
    _, offsets, data = column.buffers()
    return nearest_families(
        np.frombuffer(data, dtype=np.uint8),
        np.frombuffer(offsets, dtype=np.int64)[column.offset :][: len(column) + 1],
        labels=train["label"].to_numpy().astype(np.int64),
        num_classes=num_classes,
    )


def _conflicts(folder: Path, sequences: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each training row, shared by rows with the same residues; -1 for the others."""
    repeated = read_conflicts(folder)["sequence"].combine_chunks()
    found = pc.index_in(sequences, value_set=repeated.unique())
    numbers: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return numbers


def _require_added(rule: LabelRule, inputs: NoiseInputs) -> None:
    """Refuse to add sequences of which the data set has none."""
    if rule.unlabelled == "random" and not len(inputs.lengths["unlabelled"]):
        expected = "sequences of unknown family, for `unlabelled: random`"
        raise InputError(expected, "none in the data set (see `unknown` of `data`)")
    if rule.open_set_rate and not len(inputs.lengths["heldout"]):
        expected = "sequences of held-out families, for `open_set_rate`"
        actual = "none in the data set (see `hold_out_families` and `hold_out_clans` of `data`)"
        raise InputError(expected, actual)


def _with_versions(rule: LabelRule, accessions: Sequence[str]) -> LabelRule:
    """The same rule with the accessions of the data set, where it names them without version."""
    versions: dict[str, list[str]] = {}
    for accession in accessions:
        versions.setdefault(without_version(accession), []).append(accession)
    known = set(accessions)

    def full(mapping: Mapping[str, T], what: str) -> dict[str, T]:
        found: dict[str, T] = {}
        for name, value in mapping.items():
            several = versions.get(name, [name])
            if name not in known and len(several) > 1:
                expected = f"family {name} of `{what}` with its version"
                raise InputError(expected, f"{', '.join(several)} in the data set")
            accession = name if name in known else several[0]
            if accession in found:
                raise InputError(f"each family once in `{what}`", f"{accession} twice")
            found[accession] = value
        return found

    targets = {clean: next(iter(full({g: 0}, "class_map"))) for clean, g in rule.class_map.items()}
    rows = {clean: full(row, "transitions") for clean, row in rule.transitions.items()}
    try:
        return replace(
            rule,
            class_map=full(targets, "class_map"),
            transitions=full(rows, "transitions"),
        )
    except ValueError as error:  # such as a family that is mapped onto itself
        message = str(error).removeprefix("Expected ").removesuffix(".")
        expected, _, actual = message.partition(", got ")
        raise InputError(expected, actual) from error
