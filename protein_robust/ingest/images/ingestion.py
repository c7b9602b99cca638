"""From files of images to a dataset folder: read, choose, write, verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest import store
from protein_robust.ingest.columns import OnProgress
from protein_robust.ingest.images.content import Content, Labels, Rows
from protein_robust.ingest.images.drawing import choose
from protein_robust.ingest.images.human import read_human_labels
from protein_robust.ingest.images.options import MODALITY, ImageOptions, check_image_options
from protein_robust.ingest.images.sources import (
    Layout,
    find_layout,
    identify,
    identify_helpers,
    read_content,
)
from protein_robust.ingest.images.summary import image_card
from protein_robust.ingest.images.verification import verify_images
from protein_robust.ingest.images.writing import write_images
from protein_robust.ingest.options import SPLITS
from protein_robust.ingest.staging import check_output, staging

_PATHS = ("source", "human_labels")


def ingest_images(
    options: ImageOptions, output: str | Path, *, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Read images and write a dataset folder.

    Args:
        options: which images, and how many.
        output: the folder; a dataset there is replaced.
        on_progress: told how far reading is.

    Returns:
        The manifest.

    Raises:
        InputError: if an option, a file or the folder cannot be used; nothing is written then.
    """
    check_image_options(options)
    check_output(output)
    layout = find_layout(options)
    _check_outside(layout, options, output)
    sources, helpers = identify(layout, options), identify_helpers(options)
    content = read_content(layout, options, on_progress)
    human = _read_human(content, options)
    chosen = choose(content, options)
    with staging(output) as staged:
        written = write_images(staged.folder, content, chosen, human)
        manifest = {
            "modality": MODALITY,
            "is_synthetic": False,
            "sources": sources,
            "helpers": helpers,
            "options": asdict(options),
            **_count(content, chosen),
            "image_shape": written.image_shape,
            "channel_mean": written.channel_mean,
            "channel_std": written.channel_std,
            "human_labels": written.human_labels,
            "verification": _verify(staged.folder, content, written.pixels_sha256),
            "digest": written.digest,
        }
        name = Path(output).absolute().name
        families = pq.read_table(staged.folder / store.FAMILIES).to_pylist()
        card = image_card({"name": name, **manifest}, families)
        (staged.folder / store.CARD).write_text(card, encoding="utf-8")
        whole = store.write_manifest(staged.folder, manifest, name=name)
        staged.put()
    return whole


def are_current(folder: str | Path, options: ImageOptions) -> bool:
    """Tell whether a folder holds just what `ingest_images` would make now.

    Args:
        folder: perhaps an image dataset folder.
        options: as for `ingest_images`.

    Returns:
        True if the dataset is whole and of the same source content, options and schema version.
        Files may have been moved to another folder.
    """
    try:
        manifest = store.read_manifest(folder)
        if manifest.get("modality") != MODALITY or not store.is_complete(folder, manifest):
            return False
        check_image_options(options)
        if _without_paths(manifest["options"]) != _without_paths(asdict(options)):
            return False
        wanted = [*identify(find_layout(options), options), *identify_helpers(options).values()]
    except InputError:
        return False  # `ingest_images` says what is wrong
    found = [*manifest["sources"], *manifest["helpers"].values()]
    return [_content_of(file) for file in wanted] == [_content_of(file) for file in found]


def _without_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Whether there is a file, but not where: its content is compared."""
    return {name: value is not None if name in _PATHS else value for name, value in options.items()}


def _content_of(file: Mapping[str, Any]) -> tuple[str, str, int]:
    return Path(file["path"]).name, file["sha256"], file["num_bytes"]


def _check_outside(layout: Layout, options: ImageOptions, output: str | Path) -> None:
    """Refuse files that stand where the dataset is to be."""
    helpers = [] if options.human_labels is None else [Path(options.human_labels)]
    for path in (*layout.files, *helpers):
        if path.resolve().is_relative_to(Path(output).resolve()):
            expected = f"a source outside the output folder {output}"
            raise InputError(expected, "one inside it", path=path)


def _read_human(content: Content, options: ImageOptions) -> dict[str, Labels]:
    if options.human_labels is None:
        return {}
    return read_human_labels(
        options.human_labels,
        content.truth,
        is_coarse=options.classes == "coarse",
        num_classes=len(content.classes),
    )


def _count(content: Content, chosen: Mapping[str, Rows]) -> dict[str, Any]:
    """``counts`` and ``removed`` of the manifest; records are kept or removed."""
    numbers = {split: len(chosen[split]) for split in SPLITS}
    num_kept = numbers["train"] + numbers["valid"]
    num_removed = content.num_records - num_kept - numbers["test"]
    test_removed = 0 if content.test is None else len(content.test.labels) - numbers["test"]
    return {
        "counts": {
            "records": content.num_records,
            "families": len(content.classes),
            "clans": len({*content.clans} - {None}),
            **numbers,
        },
        "removed": {"train_not_drawn": num_removed - test_removed, "test_not_drawn": test_removed},
    }


def _verify(folder: Path, content: Content, pixels_sha256: str) -> dict[str, Any]:
    """Read what was written again; a dataset that fails would be a mistake of this program."""
    divides = content.test is not None
    verification = verify_images(folder, pixels_sha256=pixels_sha256, divides=divides)
    if not verification["passed"]:
        failed = {name: found for name, found in verification["checks"].items() if found}
        raise InputError(
            "a dataset that passes its own verification (this is a bug, please report it)",
            str(failed),
        )
    return verification
