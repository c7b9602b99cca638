"""Lists and tables of a data card, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_MOST_ROWS = 11


def list_of(items: Iterable[str]) -> str:
    r"""Make a list.

    Args:
        items: one text each.

    Returns:
        Markdown; empty without items.

    Example:
        >>> list_of(["a", "b c"])
        '- a\n- b c'
    """
    return "\n".join(f"- {_one_line(item)}" for item in items)


def table_of(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""Make a table, or several where MLflow's page would show only the beginning of it.

    Args:
        header: what the columns are called.
        rows: cells; whole numbers get commas.

    Returns:
        Markdown.

    Example:
        >>> print(table_of(("a", "b"), [("x|y", 1000)]))
        | a | b |
        | --- | --- |
        | x\|y | 1,000 |
    """
    lines = []
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        lines.append([_one_line(cell).replace("|", "\\|") for cell in cells])
    parts = [lines[begin : begin + _MOST_ROWS] for begin in range(0, len(lines), _MOST_ROWS)]
    return "\n\n".join(
        "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *part])
        for part in parts or [[]]
    )


def _one_line(text: str) -> str:
    """A name may hold line ends, which would end the row or the item."""
    return " ".join(text.splitlines())
