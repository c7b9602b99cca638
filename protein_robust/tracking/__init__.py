"""The only home of MLflow: where values go, the runs of a study, and the pages that show them.

MLflow is imported inside functions only, so importing this package is quick and works without it.
"""

from protein_robust.tracking.fetching import fetch_model
from protein_robust.tracking.models import Candidate, register_models
from protein_robust.tracking.runs import (
    TrainingRun,
    find_run_ids,
    is_recorded,
    reopen,
    send_rest,
    start_run,
)
from protein_robust.tracking.server import LOCAL_PAGES, list_studies, serve_ui, study_links
from protein_robust.tracking.stores import Experiment, check_store, prepare, resolve_uri
from protein_robust.tracking.summary import log_summary
from protein_robust.tracking.views import colour_runs, save_view

__all__ = [
    "LOCAL_PAGES",
    "Candidate",
    "Experiment",
    "TrainingRun",
    "check_store",
    "colour_runs",
    "fetch_model",
    "find_run_ids",
    "is_recorded",
    "list_studies",
    "log_summary",
    "prepare",
    "register_models",
    "reopen",
    "resolve_uri",
    "save_view",
    "send_rest",
    "serve_ui",
    "start_run",
    "study_links",
]
