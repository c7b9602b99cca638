"""The run of a data set: its card, its numbers, its figures."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein_robust.tracking.artifacts import copy_files, show_images
from protein_robust.tracking.source import source_tags
from protein_robust.tracking.store_run import DIGEST_LENGTH, PARAMS_PER_BATCH, dataset_inputs
from protein_robust.tracking.stores import Experiment, connect
from protein_robust.tracking.summary import discard_run

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

CARD = "data_card.md"
MAX_NOTE = 5000
"""Letters of a card that the run's page shows; its store takes 8000 in a tag."""
MAX_PARAM = 500
"""Letters of a setting that are logged; a list of held-out families may be long."""
NUMBERS = (
    "counts", "lengths", "family_sizes", "conflicts", "coordinates", "removed", "human_labels",
)  # fmt: skip
"""Parts of a manifest that are numbers by name; data sets of sequences and of images lack some."""
CHANNELS = ("channel_mean", "channel_std")
"""Of images: a number for each channel."""

_log = logging.getLogger(__name__)


def log_data_card(
    experiment: Experiment,
    folder: Path,
    *,
    manifest: Mapping[str, Any],
    card: str,
    figures: Iterable[Path] = (),
    files: Iterable[Path] = (),
) -> str | None:
    """Put what is known of a data set in one run, ``data: NAME``.

    A run of the same data set with the same digest is replaced: the old one is deleted after the
    new one is complete. Runs of other digests stay, as the history of the data set.

    Args:
        experiment: where `protein_robust.tracking.prepare` said.
        folder: the dataset folder, as the source of the data set.
        manifest: its manifest, of sequences or of images; counts, and of images the mean and the
            deviation of each channel, become metrics; options that are not None become parameters,
            of images their shape too.
        card: its data card in Markdown: the file ``data_card.md``, and the note of the run.
        figures: PNG files become image cards and files; others are files only.
        files: other files, kept at the root.

    Returns:
        The run's identifier, or None where the store failed, which is logged as a warning.
    """
    run_id = None
    name, digest = str(manifest["name"]), str(manifest["digest"])
    tags = {"kind": "data", "data": name, "digest": digest}
    try:
        client = connect(experiment.uri)
        old = _same_data(client, experiment.experiment_id, tags)
        all_tags = {**source_tags(), **tags, "mlflow.note.content": _note(card)}
        run = client.create_run(experiment.experiment_id, tags=all_tags, run_name=f"data: {name}")
        run_id = str(run.info.run_id)
        _log_numbers(client, run_id, manifest)
        inputs = dataset_inputs(name, digest[:DIGEST_LENGTH], str(folder), "data")
        client.log_inputs(run_id, inputs)
        client.log_text(run_id, card, CARD)
        drawn = list(figures)
        copy_files(client, run_id, [*drawn, *files])
        show_images(client, run_id, [path for path in drawn if path.suffix == ".png"])
        client.set_terminated(run_id)
        for run_id_before in old:
            client.delete_run(run_id_before)
    except Exception as error:  # noqa: BLE001  the card and the figures lie in folders of this machine
        _log.warning("tracking stopped: the data card of %s is not in MLflow: %s", name, error)
        discard_run(experiment, run_id)
        return None
    return run_id


def _note(card: str) -> str:
    """The card, or as many whole lines of it as a page shows."""
    if len(card) <= MAX_NOTE:
        return card
    whole_lines = card[:MAX_NOTE].rpartition("\n")[0]
    return f"{whole_lines}\n\n... The whole card is in `{CARD}`.\n"


def _same_data(client: MlflowClient, experiment_id: str, tags: Mapping[str, str]) -> list[str]:
    """Find the runs of this very data set that are there now."""
    found = f"tags.kind = 'data' and tags.digest = '{tags['digest']}'"
    runs = client.search_runs([experiment_id], found, max_results=1000)
    # Compared here, because a quote in a name has no escape in MLflow's filters.
    return [str(run.info.run_id) for run in runs if run.data.tags.get("data") == tags["data"]]


def _log_numbers(client: MlflowClient, run_id: str, manifest: Mapping[str, Any]) -> None:
    """Log counts as metrics and settings as parameters, in batches as large as MLflow takes."""
    params = list(_params(manifest))
    for start in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[start : start + PARAMS_PER_BATCH])
    client.log_batch(run_id, metrics=list(_metrics(manifest)))


def _params(manifest: Mapping[str, Any]) -> Iterator[Param]:
    from mlflow.entities import Param

    whole = {
        "name": manifest["name"],
        "digest": manifest["digest"],
        "is_synthetic": manifest["is_synthetic"],
        "modality": manifest.get("modality"),
        "image_shape": _shape(manifest),
        "split_rule": manifest.get("split_rule"),
        "verified": manifest["verification"]["passed"],
        "sources": ", ".join(Path(source["path"]).name for source in manifest["sources"]),
        **{f"options.{option}": value for option, value in manifest["options"].items()},
    }
    for key, value in whole.items():
        if value is not None:
            yield Param(key, str(value)[:MAX_PARAM])


def _shape(manifest: Mapping[str, Any]) -> str | None:
    """Height, width and channels of images."""
    shape = manifest.get("image_shape")
    return None if shape is None else " x ".join(map(str, shape))


def _metrics(manifest: Mapping[str, Any]) -> Iterator[Metric]:
    from mlflow.entities import Metric

    values = {
        # `201+` and the like are no names that MLflow takes.
        f"{part}/{name.replace('+', ' or more')}": value
        for part in NUMBERS
        for name, value in manifest.get(part, {}).items()
    }
    for name in CHANNELS:
        values |= {f"{name}/{place}": v for place, v in enumerate(manifest.get(name, []))}
    if "skipped" in manifest:
        values["skipped/records"] = manifest["skipped"]["records"]
        values["skipped/rows"] = manifest["skipped"]["rows"]
    if "families_without_test" in manifest:
        values["families_without_test"] = manifest["families_without_test"]
    now = int(time.time() * 1000)
    for key, value in values.items():
        yield Metric(key, math.nan if value is None else float(value), now, 0)
