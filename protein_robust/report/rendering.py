"""A table for each reader of files: Markdown, HTML, spreadsheet, program, MLflow's table view."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import pandas as pd

from protein_robust.atomic import replace_file
from protein_robust.report.tables import LOWER_IS_BETTER, SECONDS, Table, details_table, talk_table

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "top5_accuracy": "top-5 accuracy",
    "clan_accuracy": "clan accuracy",
    "entropy_confidence": "1 - H(p)/H(u)",
    "max_probability": "max p",
    "expected_calibration_error": "calibration error",
    "correct_fitting": "correct fitting",
    "wrong_fitting": "wrong fitting",
    "correction": "correction",
    "coverage": "with a hit",
    "first_pass_coverage": "with a hit in the first pass",
    "build_seconds": "time to build",
    "search_seconds": "time to search",
}
DATA_NAMES = {"test": "test", "train": "train", "valid": "valid", "test_whole": "test, whole"}
ONE_DOT = "\N{ONE DOT LEADER}"
"""Looks like a full stop."""
LOWER_NOTE = " (lower is better)"
NO_VALUE = "–"  # noqa: RUF001  an en dash, as printed tables have it

_STYLE = (
    "body{font:12px sans-serif;margin:1em}h1{font-size:1.2em}table{border-collapse:collapse}"
    "th,td{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}"
    ".value,.best{text-align:right}.best{font-weight:bold}"
)


def number_frame(table: Table) -> pd.DataFrame:
    """Lay a table out for programs.

    Returns:
        The row names as columns, then ``<loss> mean``, ``<loss> sd`` and ``<loss> seeds`` for each
        loss; fractions, not percentages.
    """
    parts = {"mean": table.mean, "sd": table.spread, "seeds": table.num_seeds}
    columns = {
        f"{loss} {name}": frame[loss]
        for loss in table.mean.columns
        for name, frame in parts.items()
    }
    return pd.DataFrame(columns, index=table.mean.index).reset_index()


def display_frame(table: Table, *, best: tuple[str, str] = ("", "")) -> pd.DataFrame:
    """Lay a table out for people, as text, with every row named in full.

    Args:
        table: the numbers.
        best: what to put before and after the best values of a row.

    Returns:
        The row names and the losses as columns; values such as ``84.3 ± 0.6``, in percent.
    """
    levels = [str(name) for name in table.mean.index.names]
    names = [_row_names(row, levels) for row in table.mean.index]
    frame = pd.DataFrame(names, columns=levels, dtype=object)
    for loss in table.mean.columns:
        frame[str(loss)] = [
            _cell(table, position, loss, best=best) for position in range(len(table.mean))
        ]
    return frame


def markdown(table: Table, title: str) -> str:
    """Give a table as Markdown, the best of each row in bold.

    Args:
        table: the numbers.
        title: heading above it.
    """
    frame = display_frame(table, best=("**", "**"))
    text = markdown_table(frame, num_names=len(table.mean.index.names))
    return "\n".join([f"## {title}", "", f"{caption(table)}.", "", text, ""])


def markdown_table(frame: pd.DataFrame, *, num_names: int) -> str:
    """Lay a frame of text out as a table in Markdown.

    Args:
        frame: text.
        num_names: columns that name a row, on the left; the others are set to the right.
    """
    rule = ["---"] * num_names + ["---:"] * (len(frame.columns) - num_names)
    rows = [list(frame.columns), rule, *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(_escape(str(cell)) for cell in row) + " |" for row in rows)


def html_page(table: Table, title: str) -> str:
    """Give a table as a page that needs nothing else, the best of each row in bold.

    MLflow shows it whole, while it cuts a long Markdown table at a fixed height.

    Args:
        table: the numbers.
        title: heading above it.
    """
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1><p>{escape(caption(table))}.</p>\n"
        f"{html_table(display_frame(table), table.is_best)}</body></html>\n"
    )


def html_table(frame: pd.DataFrame, is_best: pd.DataFrame | None = None) -> str:
    """Lay a frame of text out as a table in HTML.

    Args:
        frame: text.
        is_best: for the columns on the right, which cells are bold; None for none.
    """
    num_names = len(frame.columns) - (0 if is_best is None else len(is_best.columns))
    head = "".join(
        f"<th>{escape(str(name))}</th>"
        if place < num_names
        else f'<th class="value">{escape(str(name))}</th>'
        for place, name in enumerate(frame.columns)
    )
    all_marks = [()] * len(frame) if is_best is None else is_best.to_numpy().tolist()
    rows = []
    for row, marks in zip(frame.to_numpy().tolist(), all_marks, strict=True):
        names = "".join(f"<td>{escape(str(cell))}</td>" for cell in row[:num_names])
        values = "".join(
            f'<td class="{"best" if mark else "value"}">{escape(str(cell))}</td>'
            for cell, mark in zip(row[num_names:], marks, strict=True)
        )
        rows.append(f"<tr>{names}{values}</tr>")
    body = "\n".join(rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def caption(table: Table) -> str:
    """Say what the numbers are, and over how many seeds."""
    counts = table.num_seeds.to_numpy()
    counts = counts[counts > 0]
    if counts.size == 0:
        return "No values"
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return "Percent, one seed; the best of a row is bold"
    seeds = f"{high}" if low == high else f"{low} to {high}"
    return f"Percent, mean ± sample sd over {seeds} seeds; the best of a row is bold"


def flat_tables(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give both tables as text with flat columns, as MLflow's table view reads them.

    Args:
        results: one row a value.

    Returns:
        Frames named ``table`` and ``details``; their first column names each row uniquely, which is
        what that view groups by; ``*`` marks the best of a row.
    """
    tables = {"table": talk_table(results), "details": details_table(results)}
    return {name: _flat(table) for name, table in tables.items()}


def write_tables(results: pd.DataFrame, folder: Path, *, subject: str = "") -> list[Path]:
    """Write both tables and the values they come from.

    Args:
        results: one row a value.
        folder: made where it is missing.
        subject: what the results are of, put before each heading.

    Returns:
        ``table`` and ``details``, each ``.csv``, ``.md``, ``.html`` and ``.parquet``; then
        ``results.parquet``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "table": (talk_table(results), "Accuracy and confidence"),
        "details": (details_table(results), "Checkpoints, calibration and label fitting"),
    }
    written = []
    for name, (table, title) in tables.items():
        heading = f"{subject}: {title}" if subject else title
        written += _write_table(table, folder / name, heading)
    path = folder / "results.parquet"
    return [*written, replace_file(path, lambda partial: results.to_parquet(partial, index=False))]


def _flat(table: Table) -> pd.DataFrame:
    """Join the names of each row into one."""
    frame = display_frame(table, best=("", " *"))
    names = [str(name) for name in table.mean.index.names]
    joined = [" | ".join(row) for row in frame[names].to_numpy().tolist()]
    frame = frame.drop(columns=names)
    frame.insert(0, " | ".join(names), joined)
    # MLflow's table view reads a full stop in a column name as a path and shows empty cells.
    return frame.rename(columns=lambda name: name.replace(".", ONE_DOT))


def _write_table(table: Table, stem: Path, title: str) -> list[Path]:
    """Write one table in its four formats."""
    numbers = number_frame(table)
    pages = {".md": markdown(table, title), ".html": html_page(table, title)}
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": lambda path: numbers.to_csv(path, index=False),
        ".md": lambda path: path.write_text(pages[".md"], encoding="utf-8"),
        ".html": lambda path: path.write_text(pages[".html"], encoding="utf-8"),
        ".parquet": lambda path: numbers.to_parquet(path, index=False),
    }
    return [replace_file(stem.with_suffix(end), write) for end, write in writers.items()]


def _row_names(row: tuple[str, ...], levels: list[str]) -> list[str]:
    """Give a row's names as people read them."""
    named = dict(zip(levels, row, strict=True))
    metric = named["metric"]
    name = METRIC_NAMES.get(metric, metric)
    named["metric"] = f"{name}{LOWER_NOTE}" if metric in LOWER_IS_BETTER else name
    named["data"] = DATA_NAMES.get(named["data"], named["data"])
    return [named[level] for level in levels]


def _cell(table: Table, position: int, loss: str, *, best: tuple[str, str]) -> str:
    """Print one value, in percent or seconds with one decimal."""
    mean = table.mean[loss].iloc[position]
    if pd.isna(mean):
        return NO_VALUE
    spread = table.spread[loss].iloc[position]
    is_time = table.mean.index.get_level_values("metric")[position] in SECONDS
    scale, unit = (1, " s") if is_time else (100, "")
    text = f"{scale * mean:.1f}" + ("" if pd.isna(spread) else f" ± {scale * spread:.1f}") + unit
    return f"{best[0]}{text}{best[1]}" if table.is_best[loss].iloc[position] else text


def _escape(text: str) -> str:
    """Keep a name from ending its cell of a Markdown table."""
    return text.replace("|", "\\|")
