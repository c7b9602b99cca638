"""What a study found, as tables and figures; the only home of matplotlib.

Matplotlib and rich are imported inside functions only: importing this package works without them.
"""

from protein_robust.report.figures import method_comparison, training_dynamics, write_figures
from protein_robust.report.rendering import (
    display_frame,
    flat_tables,
    html_page,
    markdown,
    number_frame,
    write_tables,
)
from protein_robust.report.tables import Table, details_table, talk_table
from protein_robust.report.terminal import rich_table

__all__ = [
    "Table",
    "details_table",
    "display_frame",
    "flat_tables",
    "html_page",
    "markdown",
    "method_comparison",
    "number_frame",
    "rich_table",
    "talk_table",
    "training_dynamics",
    "write_figures",
    "write_tables",
]
