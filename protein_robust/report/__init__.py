"""What a study found, as tables and figures; the only home of matplotlib.

Matplotlib and rich are imported inside functions only: importing this package works without them.
"""

from protein_robust.report.figures import (
    method_comparison,
    training_dynamics,
    trust_and_emphasis,
)
from protein_robust.report.loss_curves import loss_curves, loss_gradients
from protein_robust.report.loss_figures import (
    emphasis_densities,
    label_probability_histogram,
    loss_shapes,
    trust_over_time,
)
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
from protein_robust.report.writing import write_figures

__all__ = [
    "Table",
    "details_table",
    "display_frame",
    "emphasis_densities",
    "flat_tables",
    "html_page",
    "label_probability_histogram",
    "loss_curves",
    "loss_gradients",
    "loss_shapes",
    "markdown",
    "method_comparison",
    "number_frame",
    "rich_table",
    "talk_table",
    "training_dynamics",
    "trust_and_emphasis",
    "trust_over_time",
    "write_figures",
    "write_tables",
]
