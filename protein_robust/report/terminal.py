"""A table for the terminal, which never cuts a number short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protein_robust.report.rendering import LOWER_NOTE, caption, display_frame
from protein_robust.report.tables import Table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table as RichTable

_PADDING = 3
"""Blanks that rich puts around and between cells."""
_LOWER_MARK = " \N{DOWNWARDS ARROW}"


@dataclass(frozen=True)
class TerminalTable:
    """A table that rich prints in the width there is, in several parts where it must.

    Attributes:
        table: the numbers.
        title: heading above it.
    """

    table: Table
    title: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichTable]:
        """Give the parts, as rich asks for them."""
        frame = display_frame(self.table)
        levels = [str(name) for name in self.table.mean.index.names if name != "noise"]
        named = [", ".join(row) for row in frame[levels].to_numpy().tolist()]
        names = [name.replace(LOWER_NOTE, _LOWER_MARK) for name in named]
        losses = [str(loss) for loss in self.table.mean.columns]
        widths = [max([len(loss), *frame[loss].map(len)]) + _PADDING for loss in losses]
        name_width = max([*map(len, names), *frame["noise"].map(len), 0]) + _PADDING
        parts = _fit(widths, options.max_width - name_width - _PADDING)
        for number, (start, stop) in enumerate(parts, start=1):
            part = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            yield self._part(names, losses[start:stop], title=self.title + part)

    def _part(self, names: list[str], losses: list[str], *, title: str) -> RichTable:
        """Make the table of some of the losses."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        note = f"; {_LOWER_MARK.strip()} lower is better" if _LOWER_MARK in "".join(names) else ""
        made = RichTable(
            title=title, caption=caption(self.table) + note, box=SIMPLE_HEAD, pad_edge=False
        )
        made.add_column("", overflow="fold")
        for loss in losses:
            made.add_column(Text(loss), justify="right", overflow="fold")
        frame = display_frame(self.table)
        last = None
        for position, row in enumerate(frame.to_dict("records")):
            if row["noise"] != last:
                made.add_section()
                made.add_row(Text(row["noise"], "italic"))
                last = row["noise"]
            marks = self.table.is_best.iloc[position]
            cells = [Text(row[loss], "bold" if marks[loss] else "") for loss in losses]
            made.add_row(Text(names[position]), *cells)
        return made


def rich_table(table: Table, title: str) -> TerminalTable:
    """Give a table for `rich.console.Console.print`, a section for each noise setting.

    The best of each row is bold.

    Args:
        table: the numbers.
        title: heading above it.
    """
    return TerminalTable(table, title)


def _fit(widths: list[int], space: int) -> list[tuple[int, int]]:
    """Deal columns out to parts that fit, at least one to each; gives (start, stop) of each."""
    starts, used = [0], 0
    for position, width in enumerate(widths):
        if used + width > space and position > starts[-1]:
            starts.append(position)
            used = 0
        used += width
    return list(zip(starts, [*starts[1:], len(widths)], strict=True))
