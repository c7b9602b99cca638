"""Every figure and the page of a study, drawn and written to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from protein_robust.atomic import replace_file
from protein_robust.losses import Loss
from protein_robust.report.checkpoints import checkpoints_frame, checkpoints_markdown
from protein_robust.report.comparisons import comparisons_markdown
from protein_robust.report.drawing import save_figures
from protein_robust.report.frames import StudyFrames
from protein_robust.report.page import study_markdown, study_page
from protein_robust.report.pictures import Picture, draw_pictures
from protein_robust.report.rendering import write_tables
from protein_robust.report.sections import Image, StudyFacts

FIGURES = "figures"


def write_figures(
    results: pd.DataFrame,
    history: pd.DataFrame,
    folder: Path,
    *,
    losses: Mapping[str, Loss] | None = None,
    frames: StudyFrames | None = None,
) -> list[Path]:
    """Draw everything there are values for, each loss in one colour throughout.

    Args:
        results: one row a value.
        history: one row for each noise, loss, seed and epoch.
        folder: made where it is missing.
        losses: of the study, by label, for the picture of their shapes; None for no such picture.
        frames: whatever else there is; its own results and history are used then.

    Returns:
        The files: each figure as ``.png`` and ``.svg``, ``protein_table`` first.
    """
    pictures = draw_pictures(frames or StudyFrames(results, history), losses)
    return save_figures({stem: picture.figure for stem, picture in pictures.items()}, folder)


def write_study(
    frames: StudyFrames,
    folder: Path,
    *,
    facts: StudyFacts,
    losses: Mapping[str, Loss] | None = None,
) -> list[Path]:
    """Write the tables, figures and the page of a study.

    Args:
        frames: what it found.
        folder: of the study; figures go to `FIGURES` in it.
        facts: what it is.
        losses: by label, for the picture of their shapes; None for no such picture.

    Returns:
        The files: ``table.*``, ``details.*``, ``results.parquet``, ``comparisons.*`` and
        ``checkpoints.*`` where there is something, the figures, ``report.html``, ``report.md``.
    """
    written = write_tables(frames.results, folder, subject=facts.subject)
    written += write_more_tables(frames, folder, subject=facts.subject)
    pictures = draw_pictures(frames, losses)
    figures = {stem: picture.figure for stem, picture in pictures.items()}
    written += save_figures(figures, folder / FIGURES)
    images = [_image(stem, picture, folder / FIGURES) for stem, picture in pictures.items()]
    pages = {
        "report.html": study_page(facts, frames, images),
        "report.md": study_markdown(facts, frames, images, figures=FIGURES),
    }
    return written + [_write_text(folder / name, text) for name, text in pages.items()]


def write_more_tables(frames: StudyFrames, folder: Path, *, subject: str = "") -> list[Path]:
    """Write which differences are real, and the final beside the best networks.

    Args:
        frames: of a study.
        folder: made where it is missing.
        subject: what the results are of, put before each heading.

    Returns:
        ``comparisons`` and ``checkpoints``, each ``.csv``, ``.md`` and ``.parquet``; without those
        of which there is nothing to say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = checkpoints_frame(frames.results)
    before = f"{subject}: " if subject else ""
    tables = {
        "comparisons": (frames.comparisons, comparisons_markdown, "Which differences are real"),
        "checkpoints": (checkpoints, checkpoints_markdown, "Final and best networks"),
    }
    written = []
    for name, (frame, markdown, title) in tables.items():
        if len(frame):
            text = markdown(frame, before + title)
            written += _write_table(frame, text, folder / name)
    return written


def _write_table(frame: pd.DataFrame, text: str, stem: Path) -> list[Path]:
    """Write one table in three formats."""
    return [
        replace_file(stem.with_suffix(".csv"), lambda path: frame.to_csv(path, index=False)),
        _write_text(stem.with_suffix(".md"), text),
        replace_file(
            stem.with_suffix(".parquet"), lambda path: frame.to_parquet(path, index=False)
        ),
    ]


def _write_text(path: Path, text: str) -> Path:
    return replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _image(stem: str, picture: Picture, folder: Path) -> Image:
    """Read a figure that was saved, for a page."""
    return Image(stem, picture.kind, picture.subject, (folder / f"{stem}.png").read_bytes())
