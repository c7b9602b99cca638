"""What a study's page says, section by section, apart from how it is laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from protein_robust.report.checkpoints import (
    CHECKPOINT_NOTE,
    checkpoints_display,
    checkpoints_frame,
)
from protein_robust.report.comparisons import (
    COMPARISONS_NOTE,
    comparisons_display,
    plain_statements,
)
from protein_robust.report.confusion import known_clan
from protein_robust.report.frames import StudyFrames
from protein_robust.report.measure_tables import (
    CALIBRATION_NOTE,
    UNKNOWN_NOTE,
    calibration_display,
    unknown_display,
)
from protein_robust.report.pictures import CAPTIONS
from protein_robust.report.rendering import caption, display_frame
from protein_robust.report.tables import Table, details_table, measures_table, talk_table

TALK_NOTE = (
    "Test labels are never corrupted; training accuracy is against the labels that were given. "
    "Confidence is not calibration, which stands below."
)
SYNTHETIC_NOTE = (
    "The sequences are synthetic, made to show how the methods run: these numbers say nothing of "
    "real proteins."
)
MOST_ROWS = 100
"""Longer tables of pairs and of checkpoints are cut on the page; the files have all."""


@dataclass(frozen=True)
class StudyFacts:
    """What a study is, for its page.

    Attributes:
        name: of the study.
        description: a sentence or two; empty for none.
        is_synthetic: whether the sequences are made up.
        digest: of the data set's content; empty where it is not known.
        data: what the data card says in short: pairs of what and value.
        command: how to get the same numbers; empty for none.
        commit: of the source; empty where it is not known.
    """

    name: str
    description: str = ""
    is_synthetic: bool = False
    digest: str = ""
    data: Sequence[tuple[str, str]] = ()
    command: str = ""
    commit: str = ""

    @property
    def subject(self) -> str:
        """The name, with what must not be overlooked."""
        return f"{self.name} (synthetic data)" if self.is_synthetic else self.name


@dataclass(frozen=True)
class Image:
    """A figure that was drawn.

    Attributes:
        stem: of its files.
        kind: one of `protein_robust.report.pictures.CAPTIONS`.
        subject: the noise setting, or the group of them; may be empty.
        png: the content of its PNG file.
    """

    stem: str
    kind: str
    subject: str
    png: bytes


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Listing:
    """Sentences, each an item, under a heading of their own if there is one."""

    items: Sequence[str]
    title: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        frame: its cells.
        num_names: columns on the left that name a row.
        is_best: which of the others are bold; None for none.
    """

    frame: pd.DataFrame
    num_names: int
    is_best: pd.DataFrame | None = None


@dataclass(frozen=True)
class Code:
    """A command."""

    text: str


Block = Text | Listing | Grid | Code | Image


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    title: str
    blocks: Sequence[Block]


def study_sections(
    facts: StudyFacts, frames: StudyFrames, images: Sequence[Image]
) -> list[Section]:
    """Put together what there is to say of a study.

    Args:
        facts: what it is.
        frames: what it found.
        images: its figures; each kind in the section that it belongs to.

    Returns:
        The sections that have something to say, in the order of reading.
    """
    parts: list[tuple[str, Iterator[Block], tuple[str, ...]]] = [
        ("The study", _study(facts, frames), ()),
        ("Accuracy and confidence", _table(talk_table(frames.results), TALK_NOTE), _TALK_KINDS),
        ("Which differences are real", _comparisons(frames), ()),
        ("Final and best networks", _checkpoints(frames), ()),
        ("Calibration", _calibration(frames), ("reliability", "risk_coverage")),
        ("Robustness", iter(()), ("robustness_by_rate", "robustness_by_kept_fraction")),
        ("Knowing the unknown", _unknown(frames), ("unknown_detection",)),
        ("What is right, and where", _measures(frames), ("accuracy_by_group", "clan_confusion")),
        ("The training", iter(()), _TRAINING_KINDS),
        ("Details", _table(details_table(frames.results)), ()),
        ("The data", _data(facts), ()),
        ("How to get these numbers again", _again(facts), ()),
    ]
    made = [
        Section(title, [*blocks, *(image for image in images if image.kind in kinds)])
        for title, blocks, kinds in parts
    ]
    return [section for section in made if section.blocks]


_TALK_KINDS = ("method_comparison",)  # the table itself stands there as text
_TRAINING_KINDS = ("training_dynamics", "label_probability", "trust_and_emphasis", "loss_shapes")


def image_title(image: Image) -> str:
    """Name a figure and its subject."""
    title = CAPTIONS[image.kind][0]
    return f"{title}: {image.subject}" if image.subject else title


def _study(facts: StudyFacts, frames: StudyFrames) -> Iterator[Block]:
    if facts.is_synthetic:
        yield Text(SYNTHETIC_NOTE)
    if facts.description:
        yield Text(facts.description)
    results = frames.results
    seeds = ", ".join(str(seed) for seed in sorted(results["seed"].unique()))
    rows = [
        ("methods", ", ".join(map(str, results["loss"].unique()))),
        ("noise settings", ", ".join(map(str, results["noise"].unique()))),
        ("seeds", seeds),
        ("data digest", facts.digest),
        ("source commit", facts.commit),
    ]
    yield _pairs([(name, value) for name, value in rows if value])


def _table(table: Table, note: str = "") -> Iterator[Block]:
    if table.mean.empty:
        return
    yield Text(f"{caption(table)}. {note}".strip())
    yield Grid(display_frame(table), len(table.mean.index.names), table.is_best)


def _comparisons(frames: StudyFrames) -> Iterator[Block]:
    if not len(frames.comparisons):
        return
    for noise, sentences in plain_statements(frames.comparisons).items():
        yield Listing(sentences, title=noise)
    if (frames.comparisons["num_seeds"] < 2).any():
        yield Text("Pairs with one seed: what another seed would change is not known.")
    yield Text(COMPARISONS_NOTE)
    if len(frames.comparisons) <= MOST_ROWS:
        yield Grid(comparisons_display(frames.comparisons), 7)
    else:
        yield Text(f"The {len(frames.comparisons):,} pairs are in comparisons.csv.")


def _checkpoints(frames: StudyFrames) -> Iterator[Block]:
    frame = checkpoints_frame(frames.results)
    if len(frame):
        yield Text(CHECKPOINT_NOTE)
        if len(frame) > MOST_ROWS:
            frame = frame[(frame["metric"] == "accuracy") & (frame["data"] == "test")]
            yield Text("Here the test accuracy; the other measures are in checkpoints.csv.")
        yield Grid(checkpoints_display(frame), 4)


def _calibration(frames: StudyFrames) -> Iterator[Block]:
    frame = calibration_display(frames.results)
    if len(frame):
        yield Text(CALIBRATION_NOTE)
        yield Grid(frame, 2)


def _unknown(frames: StudyFrames) -> Iterator[Block]:
    if len(frames.unknown):
        yield Text(UNKNOWN_NOTE)
        yield Grid(unknown_display(frames.unknown), 4)


def _measures(frames: StudyFrames) -> Iterator[Block]:
    results = frames.results
    notes = ["Balanced accuracy and macro F1 count each class alike, however many examples it has"]
    if any(known_clan(frames.clans, name) for name in frames.clans):
        notes.append("clan accuracy takes a relative for right")
    else:  # then it is the accuracy once more
        results = results[results["metric"] != "clan_accuracy"]
    if (results["data"] == "test_whole").any():
        notes.append("whole sequences are not cropped")
    return _table(measures_table(results), f"{'; '.join(notes)}.")


def _data(facts: StudyFacts) -> Iterator[Block]:
    if facts.data:
        yield _pairs(facts.data)


def _again(facts: StudyFacts) -> Iterator[Block]:
    if facts.command:
        at = f" at commit {facts.commit}" if facts.commit else ""
        yield Text(f"With the source{at} and the same data:")
        yield Code(facts.command)
        yield Text(
            "On a CPU the same bits come out with the same versions of the libraries; on a GPU "
            "sums are taken in another order. The values behind every table are in "
            "results.parquet."
        )


def _pairs(rows: Sequence[tuple[str, str]]) -> Grid:
    return Grid(pd.DataFrame(list(rows), columns=["what", "value"], dtype=object), 2)
