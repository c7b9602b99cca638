"""Say what an image dataset holds, in a few lines and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from protein_robust.ingest.images.options import ImageOptions
from protein_robust.ingest.markdown import list_of, table_of
from protein_robust.ingest.options import SPLITS

_REASONS = {
    "train_not_drawn": "training images not drawn",
    "test_not_drawn": "test images not drawn",
}


def describe_images(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what an image dataset holds and what was left out, for printing.

    Args:
        manifest: of an image dataset folder.

    Returns:
        Pairs of a name and a value.
    """
    counts, removed = manifest["counts"], manifest["removed"]
    families = f"{counts['families']:,}"
    if counts["clans"]:
        families += f" ({counts['clans']:,} superclasses)"
    rates = manifest["human_labels"].items()
    return [
        ("dataset", f"{manifest['name']} (images)"),
        ("set of images", manifest["options"]["name"]),
        ("images read", f"{counts['records']:,}"),
        ("classes", families),
        *((f"{split} images", f"{counts[split]:,}") for split in SPLITS),
        ("height, width, channels", " x ".join(map(str, manifest["image_shape"]))),
        ("mean of each channel", _numbers(manifest["channel_mean"])),
        ("deviation of each channel", _numbers(manifest["channel_std"])),
        *((f"human labels {name}", f"{rate:.2%} wrong") for name, rate in rates),
        *((_REASONS[reason], f"{number:,}") for reason, number in removed.items() if number),
        ("verified", "passed" if manifest["verification"]["passed"] else "failed"),
    ]


def image_card(manifest: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> str:
    """Say all that the manifest says, as a page.

    Args:
        manifest: of an image dataset, complete but for the list of its files.
        families: the rows of its families.

    Returns:
        Markdown.
    """
    verification = manifest["verification"]
    sections = [
        f"# Data card: {manifest['name']}",
        table_of(("what", "value"), describe_images(manifest)[1:]),
        "## Sources",
        table_of(("file", "bytes", "SHA-256"), _sources(manifest)),
        "## Options",
        list_of(_options(manifest["options"])),
        "## Splits",
        _rule(manifest["options"]),
        f"Verified by reading the {verification['num_rows']:,} images and their table again:",
        table_of(("check", "found"), verification["checks"].items()),
        "## Classes",
        table_of(("class", "superclass", "train", "valid", "test"), _classes(families)),
        *_human(manifest["human_labels"]),
        "## Digest",
        f"`{manifest['digest']}` (SHA-256 of pixels, labels, splits, classes and human labels)",
    ]
    return "\n\n".join(sections) + "\n"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _sources(manifest: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
    for source in manifest["sources"]:
        yield source["path"], source["num_bytes"], source["sha256"]
    for role, source in manifest["helpers"].items():
        name = f"{source['path']} ({role.replace('_', ' ')})"
        yield name, source["num_bytes"], source["sha256"]


def _options(options: Mapping[str, Any]) -> Iterable[str]:
    """The set, what differs from the defaults, and the seed."""
    usual = ImageOptions(options["name"])
    for name, value in options.items():
        if name in ("name", "seed") or value != getattr(usual, name):
            yield f"`{name}`: {value}"


def _rule(options: Mapping[str, Any]) -> str:
    test = "Test images are the official ones"
    if options["name"] == "digits":
        test = "The source has no test images, so a quarter of each class is drawn"
    return (
        f"{test}. What is drawn is the same share of each class (largest remainder); of n training "
        "images of a class floor(n f) go to valid, f being `valid_fraction`."
    )


def _classes(families: Iterable[Mapping[str, Any]]) -> Iterable[Sequence[Any]]:
    for family in families:
        numbers = (family[f"num_{split}"] for split in SPLITS)
        yield family["family_accession"], family["clan"] or "", *numbers


def _human(rates: Mapping[str, float]) -> Iterable[str]:
    if rates:
        yield "## Human labels"
        yield "Share of training images whose human label is not the official one:"
        yield table_of(("annotation", "wrong"), [(n, f"{rate:.4%}") for n, rate in rates.items()])
