"""A saved view of MLflow's pages: the curves that matter first, for every run of a study.

Left alone, MLflow orders its charts by the alphabet and draws the ten newest runs only. A saved
view is a tag of the experiment that MLflow's own pages write ("Views"); its format is MLflow's,
read off version 3.17, so a later version may fall back to its usual charts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
import zlib
from collections.abc import Mapping

from protein_robust.tracking.stores import Experiment, connect

CURVES = (
    ("train/correct_fitting", "Correct fitting"),
    ("train/wrong_fitting", "Wrong fitting"),
    ("train/correction", "Correction"),
    ("train/clean_entropy", "Entropy of clean subset"),
    ("train/noisy_entropy", "Entropy of noisy subset"),
    ("test/accuracy", "Generalisation (test accuracy)"),
)
"""The talk's six panels."""
BARS = (
    ("final/test_accuracy", "Test accuracy"),
    ("final/valid_accuracy", "Validation accuracy"),
    ("final/test_entropy_confidence", "Test 1 - H(p)/H(u)"),
    ("final/test_max_probability", "Test max p"),
    ("final/test_expected_calibration_error", "Test calibration error"),
    (
        "final/test_calibrated_expected_calibration_error",
        "Test calibration error after temperature scaling",
    ),
)
"""Of the final network, side by side."""
COLUMNS = (*(key for key, _ in BARS), "final/train_wrong_fitting", "final/train_correction")
"""Values shown in the list of runs."""

_COLOUR = "mlflow.runColor"
_PREFIX = "mlflow.sharedViewState."
_log = logging.getLogger(__name__)


def view_key(study: str) -> str:
    """Name the saved view of a study, in letters that fit a tag and an address."""
    return hashlib.sha256(study.encode()).hexdigest()[:16]


def save_view(experiment: Experiment, study: str) -> None:
    """Save the view of a study where there is none yet; a failure is a warning.

    One that is there may have been changed by hand, so it stays. For one process at a time.

    Args:
        experiment: where the study's trainings are.
        study: name that the runs are tagged with.
    """
    tag = _PREFIX + view_key(study)
    now = int(time.time() * 1000)
    packed = base64.b64encode(zlib.compress(json.dumps(view_state(study)).encode())).decode()
    view = {"name": f"Training dynamics of {study}", "createdAt": now, "updatedAt": now}
    value = json.dumps({**view, "state": f"deflate;{packed}"})
    try:
        client = connect(experiment.uri)
        if tag not in client.get_experiment(experiment.experiment_id).tags:
            client.set_experiment_tag(experiment.experiment_id, tag, value)
    except Exception as error:  # noqa: BLE001  a page that looks plainer must not stop a study
        _log.warning("the view of study %s is not saved in MLflow: %s", study, error)


def colour_runs(experiment: Experiment, colours: Mapping[str, str]) -> None:
    """Give runs their colours in MLflow's charts; a failure is a warning.

    Left alone, MLflow draws from a few shades by the run's identifier, so that two methods may
    look the same. A colour that is there already may have been chosen by hand, so it stays.

    Args:
        experiment: where the runs are.
        colours: by MLflow's identifier of the run, such as ``#0072B2``.
    """
    try:
        client = connect(experiment.uri)
        for run_id, colour in colours.items():
            if _COLOUR not in client.get_run(run_id).data.tags:
                client.set_tag(run_id, _COLOUR, colour)
    except Exception as error:  # noqa: BLE001  a page that looks plainer must not stop a study
        _log.warning("runs have MLflow's own colours: %s", error)


def training_filter(study: str) -> str:
    """Give MLflow's search for the trainings of a study."""
    return f"{study_filter(study)} and tags.stage = 'train'"


def study_filter(study: str) -> str:
    """Give MLflow's search for all runs of a study."""
    mark = '"' if "'" in study else "'"  # the filter language has no escape
    return f"tags.study = {mark}{study}{mark}"


def view_state(study: str) -> dict[str, object]:
    """Describe the page: which runs, which columns, which charts."""
    curves = [_chart("LINE", key, name, section="dynamics") for key, name in CURVES]
    bars = [_chart("BAR", key, name, section="final") for key, name in BARS]
    sections = {"dynamics": "Training dynamics", "final": "At the end"}
    return {
        "searchFilter": training_filter(study),
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": [f"metrics.`{key}`" for key in COLUMNS],
        "compareRunCharts": [*curves, *bars],
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": True, "isReordered": False}
            for uuid, name in sections.items()
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }


def _chart(kind: str, key: str, name: str, *, section: str) -> dict[str, object]:
    """Describe one chart as MLflow's pages do."""
    chart: dict[str, object] = {
        "type": kind,
        "uuid": f"{section}-{key}",
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": name,
        "runsCountToCompare": 100,
        "metricKey": key,
    }
    if kind == "LINE":
        chart |= {
            "selectedMetricKeys": [key],
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "lineSmoothness": 0,
            "range": {},
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
    return chart
