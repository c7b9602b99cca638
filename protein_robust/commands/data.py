"""The commands about data: ingest, download."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from protein_robust.console import DownloadProgress, ReadingProgress, errors, output, print_pairs
from protein_robust.errors import InputError
from protein_robust.ingest import IngestOptions, Source, describe, ingest
from protein_robust.ingest.download import download, remote_url
from protein_robust.ingest.images import ingest_images
from protein_robust.ingest.store import CARD, MANIFEST

_VERIFIED = {
    "md5_checksums": "by the MD5 in the server's list",
    "md5": "by the published MD5",
    "sha256": "by the given SHA-256",
    None: "NOT VERIFIED: the server has no checksum for it",
}


def ingest_files(parsed: argparse.Namespace) -> int:
    """Make a dataset folder and describe it."""
    names = [field.name for field in dataclasses.fields(IngestOptions)]
    chosen = {n: getattr(parsed, n) for n in names if getattr(parsed, n) is not None}
    if _is_study(parsed.source):
        make, folder = _data_of_study(Path(parsed.source[0]), parsed, list(chosen))
    elif parsed.overrides:
        raise InputError("--set with the YAML of a study", "it with files")
    else:
        make = partial(ingest, _sources(parsed), options=IngestOptions(**chosen))
        folder = parsed.output
    if folder is None:
        raise InputError("--output DIR, the dataset folder to write", "none")
    if parsed.track:
        from protein_robust.tracking import check_store, resolve_uri

        check_store(resolve_uri(None))  # before the work, not after it
    with ReadingProgress() as progress:
        manifest = make(output=folder, on_progress=progress)
    output.print(f"{folder}:", markup=False, soft_wrap=True)
    print_pairs(describe(manifest))
    for record in manifest.get("skipped", {}).get("first", []):  # images are read or refused
        line = "" if record["line"] is None else f":{record['line']}"
        what = f"{record['record']}: " if record["record"] else ""
        text = f"skipped {record['path']}{line}: {what}{record['reason']}"
        errors.print(text, markup=False, soft_wrap=True)
    output.print(f"data card: {folder / 'data_card.md'}", markup=False, soft_wrap=True)
    if parsed.track:
        _track(folder, manifest)
    return 0


def _track(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put the data card and its figures in MLflow, in an experiment of the data set's name."""
    from protein_robust.report.data_figures import write_data_figures
    from protein_robust.tracking import LOCAL_PAGES, prepare, resolve_uri
    from protein_robust.tracking.data import log_data_card
    from protein_robust.tracking.server import data_link

    experiment = prepare(resolve_uri(None), manifest["name"])
    with TemporaryDirectory() as place:
        run_id = log_data_card(
            experiment,
            folder,
            manifest=manifest,
            card=(folder / CARD).read_text(encoding="utf-8"),
            figures=write_data_figures(folder, Path(place)),
            files=[folder / MANIFEST],
        )
    if run_id is not None:
        is_server = experiment.uri.startswith("http")
        link = data_link(
            experiment.experiment_id, run_id, pages=experiment.uri if is_server else LOCAL_PAGES
        )
        output.print(f"MLflow: {link}", markup=False, soft_wrap=True)


def download_file(parsed: argparse.Namespace) -> int:
    """Fetch a named data set."""
    url = remote_url(parsed.name, parsed.release, parsed.mirror)
    errors.print(url, markup=False, soft_wrap=True)
    with DownloadProgress(parsed.name) as progress:
        done = download(
            parsed.name,
            parsed.release,
            parsed.output,
            base_url=parsed.mirror,
            sha256=parsed.sha256,
            on_progress=progress,
        )
    size = f"{done.num_bytes:,} bytes"
    if done.resumed_from:
        is_all = done.resumed_from == done.num_bytes
        size += " (there already)" if is_all else f" ({done.resumed_from:,} were there)"
    output.print(f"{done.path}:", markup=False, soft_wrap=True)
    print_pairs(
        [
            ("from", done.url),
            ("size", size),
            ("sha256", done.sha256),
            ("verified", _VERIFIED[done.verified_by]),
            ("licence", done.licence),
        ]
    )
    return 0


def _is_study(sources: Sequence[str]) -> bool:
    return len(sources) == 1 and Path(sources[0]).suffix in (".yaml", ".yml")


def _data_of_study(
    path: Path, parsed: argparse.Namespace, chosen: Sequence[str]
) -> tuple[Callable[..., dict[str, Any]], Path]:
    """The data section of a study; its settings are changed by --set, so that they are checked."""
    from protein_robust.config import ImageDataConfig, load_study  # with it comes PyTorch

    others = [name for name in chosen if name != "preset"]
    if others:
        option = f"--{others[0].replace('_', '-')}"
        raise InputError(f"--set data.{others[0]}=... with the YAML of a study", option)
    study = load_study(path, parsed.overrides, preset=parsed.preset)
    folder = parsed.output or study.dataset_folder
    if isinstance(study.data, ImageDataConfig):
        return partial(ingest_images, study.data.image_options()), folder
    return partial(ingest, study.data.sources(), options=study.data.ingest_options()), folder


def _sources(parsed: argparse.Namespace) -> list[Source]:
    by_split = {split: getattr(parsed, split) for split in ("train", "valid", "test")}
    named = [Source(path, split) for split, path in by_split.items() if path is not None]
    if bool(named) == bool(parsed.source):
        found = "both" if named else "neither"
        raise InputError("either SOURCE files or --train, --valid and --test files", found)
    return named or [Source(path) for path in parsed.source]
