"""A study on one page that needs nothing else: HTML with its figures inside, and Markdown."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import pandas as pd

from protein_robust.report.frames import StudyFrames
from protein_robust.report.pictures import CAPTIONS
from protein_robust.report.rendering import html_table, markdown_table
from protein_robust.report.sections import (
    Block,
    Code,
    Grid,
    Image,
    Listing,
    Section,
    StudyFacts,
    Text,
    image_title,
    study_sections,
)

MAX_IMAGE_BYTES = 7_000_000
"""Of all figures in one page: base64 makes a third more of them, and mail takes 10 MB."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:68rem;
margin:0 auto;padding:1.5rem}
h1{font-size:1.7rem;margin:0 0 .5rem}h2{font-size:1.25rem;margin:2.5rem 0 .5rem;
border-bottom:1px solid #ccc;padding-bottom:.2rem}h3{font-size:1rem;margin:1.2rem 0 .2rem}
p{max-width:52rem}ul{margin:.2rem 0 .8rem}nav ul{columns:2;list-style:none;padding:0}
a{color:#0b5394}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;margin:.5rem 0}
th,td{padding:.2rem .5rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
th{border-bottom:2px solid #888}td{white-space:nowrap}.words td{white-space:normal}
.value,.best{text-align:right}.best{font-weight:bold}
figure{margin:1.2rem 0}figure img{max-width:100%;height:auto}
figcaption{font-size:13px;color:#444;max-width:52rem}
pre{background:#f4f4f4;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere}
@media print{body{max-width:none;padding:0;font-size:10pt}table{font-size:7.5pt}
.scroll{overflow:visible}td{white-space:normal}figure,tr{break-inside:avoid}
h2,h3{break-after:avoid}a{color:inherit;text-decoration:none}}
"""


def study_page(facts: StudyFacts, frames: StudyFrames, images: Sequence[Image]) -> str:
    """Give a study as one file of HTML that opens offline, without scripts.

    Its numbers are the text of `table.md` and `details.md`.

    Args:
        facts: what the study is.
        frames: what it found.
        images: its figures, which become part of the file; those past `MAX_IMAGE_BYTES` are named
            instead.

    Returns:
        The file's text.
    """
    sections = study_sections(facts, frames, images)
    names = {section.title: _anchor(section.title) for section in sections}
    entries = "".join(
        f'<li><a href="#{anchor}">{escape(title)}</a></li>' for title, anchor in names.items()
    )
    shown = _within_limit(sections)
    body = "\n".join(_section(section, names[section.title], shown) for section in sections)
    title = escape(facts.subject)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f"<nav><ul>{entries}</ul></nav>\n{body}\n</body></html>\n"
    )


def study_markdown(
    facts: StudyFacts, frames: StudyFrames, images: Sequence[Image], *, figures: str
) -> str:
    """Give a study as Markdown that shows the figures beside it.

    Args:
        facts: what the study is.
        frames: what it found.
        images: its figures.
        figures: where their PNG files are, as seen from the page.

    Returns:
        The text.
    """
    parts = [f"# {facts.subject}"]
    for section in study_sections(facts, frames, images):
        parts.append(f"## {section.title}")
        parts += [_markdown_block(block, figures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _anchor(title: str) -> str:
    """A name for links, from the letters of a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _within_limit(sections: Sequence[Section]) -> set[str]:
    """Stems of the figures that there is room for, in their order."""
    shown, used = set(), 0
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Image) and used + len(block.png) <= MAX_IMAGE_BYTES:
                used += len(block.png)
                shown.add(block.stem)
    return shown


def _section(section: Section, anchor: str, shown: set[str]) -> str:
    blocks = "\n".join(_html_block(block, shown) for block in section.blocks)
    return f'<section>\n<h2 id="{anchor}">{escape(section.title)}</h2>\n{blocks}\n</section>'


def _html_block(block: Block, shown: set[str]) -> str:
    match block:
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Listing(items, title):
            listed = "".join(f"<li>{escape(item)}</li>" for item in items)
            heading = f"<h3>{escape(title)}</h3>" if title else ""
            return f"{heading}<ul>{listed}</ul>"
        case Grid(frame, _, is_best):
            # A long text, as a list of methods, may be broken; a number may not.
            is_long = frame.map(len).to_numpy().max(initial=0) > 60
            kind = "scroll words" if is_long else "scroll"
            return f'<div class="{kind}">{html_table(frame, is_best)}</div>'
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case Image():
            return _html_image(block, is_shown=block.stem in shown)


def _html_image(image: Image, *, is_shown: bool) -> str:
    title, note = escape(image_title(image)), escape(CAPTIONS[image.kind][1])
    if not is_shown:
        file = escape(f"{image.stem}.png")
        return f"<p><b>{title}</b>: left out for the size of this page; see {file}.</p>"
    data = b64encode(image.png).decode("ascii")
    return (
        f'<figure><h3>{title}</h3><img alt="{title}" src="data:image/png;base64,{data}">'
        f"<figcaption>{note}</figcaption></figure>"
    )


def _markdown_block(block: Block, figures: str) -> str:
    match block:
        case Text(text):
            return text
        case Listing(items, title):
            listed = "\n".join(f"- {item}" for item in items)
            return f"**{title}**\n\n{listed}" if title else listed
        case Grid(frame, num_names, is_best):
            return markdown_table(_bold(frame, is_best), num_names=num_names)
        case Code(text):
            return f"```\n{text}\n```"
        case Image(stem, kind):
            title = image_title(block)
            return f"### {title}\n\n![{title}]({figures}/{stem}.png)\n\n{CAPTIONS[kind][1]}"


def _bold(frame: pd.DataFrame, is_best: pd.DataFrame | None) -> pd.DataFrame:
    """Mark the best values as Markdown does."""
    if is_best is None:
        return frame
    marked = frame.copy()
    for column in is_best.columns:
        marks = is_best[column].to_numpy()
        marked[str(column)] = [
            f"**{cell}**" if mark else cell
            for cell, mark in zip(frame[str(column)], marks, strict=True)
        ]
    return marked
