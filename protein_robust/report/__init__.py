"""What a study found, as tables and figures; the only home of matplotlib.

Matplotlib and rich are imported inside functions only: importing this package works without them.
"""

from protein_robust.report.calibration_figures import reliability_diagrams, risk_coverage_curves
from protein_robust.report.comparisons import compare_methods
from protein_robust.report.confusion_figures import clan_confusion
from protein_robust.report.figures import (
    method_comparison,
    training_dynamics,
    trust_and_emphasis,
)
from protein_robust.report.frames import StudyFrames
from protein_robust.report.group_figures import accuracy_by_group
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
from protein_robust.report.robustness_figures import (
    robustness_by_kept_fraction,
    robustness_by_rate,
)
from protein_robust.report.sections import StudyFacts
from protein_robust.report.table_figure import protein_table_figure
from protein_robust.report.tables import Table, details_table, measures_table, talk_table
from protein_robust.report.terminal import rich_table
from protein_robust.report.unknown_figures import unknown_detection
from protein_robust.report.writing import write_figures, write_study

__all__ = [
    "StudyFacts",
    "StudyFrames",
    "Table",
    "accuracy_by_group",
    "clan_confusion",
    "compare_methods",
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
    "measures_table",
    "method_comparison",
    "number_frame",
    "protein_table_figure",
    "reliability_diagrams",
    "rich_table",
    "risk_coverage_curves",
    "robustness_by_kept_fraction",
    "robustness_by_rate",
    "talk_table",
    "training_dynamics",
    "trust_and_emphasis",
    "trust_over_time",
    "unknown_detection",
    "write_figures",
    "write_study",
    "write_tables",
]
