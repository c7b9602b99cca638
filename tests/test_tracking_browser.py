"""MLflow's pages of a real study as a person sees them, in headless Chromium.

Each page is opened by its link alone, without a click. What is looked for is the text of the page,
and where it must be seen to be believed, the name and the value beside each other.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_tracking_models import free_port, wait_for

from protein_robust.pipeline import main
from protein_robust.study import find_runs
from protein_robust.study.pages import show_runs
from protein_robust.tracking import prepare, serve_ui, study_links
from protein_robust.tracking.stores import connect
from protein_robust.tracking.views import BARS, CURVES

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no Chromium here: MLflow's pages are not looked at (Debian: chromium-driver)",
    ),
]

STUDY = """
name: tiny
output: {folder}/results
data: {{source: {folder}/table.csv, output: {folder}/dataset}}
noise:
  - name: crop + label
    crop: {{kind: random, min_fraction: 0.8}}
    label: {{kind: symmetric, rate: 0.2}}
model: {{width: 8, dilations: [1, 2]}}
training: {{epochs: 6, batch_size: 16, learning_rate: 2e-2}}
losses: [{{name: cross_entropy, label: CCE}}, {{name: proselflc, label: PSLC}}]
tracking: {{uri: 'sqlite:///{folder}/mlflow.db'}}
"""
TITLES = ("CCE | crop + label | seed 0", "PSLC | crop + label | seed 0")
ERRORS = ("is not valid JSON", "Something went wrong", "Loading artifact failed", "Page Not Found")
"""What MLflow's pages say when they fail."""
SECONDS = 180.0
"""As long as a page may take, on a machine that has other work too."""


@dataclass(frozen=True)
class Shown:
    """A study on MLflow's pages."""

    links: dict[str, str]
    metrics: dict[str, dict[str, float]]  # of each run, by its title


@pytest.fixture(scope="module")
def shown(study_folder: tuple[Path, Callable[..., Path]]) -> Iterator[Shown]:
    """The study of two losses, carried out and served."""
    folder, _ = study_folder
    (folder / "tiny.yaml").write_text(STUDY.format(folder=folder))
    assert main(["run", str(folder / "tiny.yaml"), "--jobs", "1"]) == 0
    experiment = prepare(f"sqlite:///{folder}/mlflow.db", "tiny")
    client = connect(experiment.uri)
    [summary] = client.search_runs([experiment.experiment_id], "tags.kind = 'summary'")
    port = free_port()
    links = study_links(
        experiment.experiment_id,
        "tiny",
        summary_id=summary.info.run_id,
        run_ids=show_runs(experiment, find_runs([folder / "results"])),
        model="tiny",
        pages=f"http://127.0.0.1:{port}",
    )
    trainings = client.search_runs([experiment.experiment_id], "tags.stage = 'train'")
    server = serve_ui(experiment.uri, port=port)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield Shown(links, {run.info.run_name: run.data.metrics for run in trainings})
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # it has none for root, who runs tests in containers
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=2000,2800",  # MLflow draws what is in sight
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(str(DRIVER), log_output=os.devnull)
    driver = webdriver.Chrome(options, service)
    driver.set_script_timeout(SECONDS)  # a busy machine draws slowly
    yield driver
    driver.quit()


def read(browser: Any, link: str, *wanted: str) -> list[str]:
    """Opens a page and gives its lines, once all that is wanted is among its text."""
    browser.get("about:blank")  # else only the part after # changes, and nothing is loaded
    browser.get(link)
    deadline = time.monotonic() + SECONDS
    while True:
        text = str(browser.execute_script("return document.body.innerText")).replace("\t", " ")
        missing = [each for each in wanted if each not in text]
        if not missing:
            break
        assert time.monotonic() < deadline, f"{link} lacks {missing}:\n{text}"
        time.sleep(0.3)
    assert not [error for error in ERRORS if error in text], text
    return text.splitlines()


def read_frame(browser: Any, link: str, *wanted: str) -> str:
    """Opens the page of an HTML file, which MLflow shows in a frame, and gives its text."""
    read(browser, link)
    deadline = time.monotonic() + SECONDS
    while True:
        for frame in browser.find_elements("tag name", "iframe"):
            browser.switch_to.frame(frame)
            text = str(browser.execute_script("return document.body.innerText"))
            browser.switch_to.default_content()
            if all(each in text for each in wanted):
                return text
        assert time.monotonic() < deadline, f"{link} does not show {wanted}"
        time.sleep(0.3)


def test_chart_view_draws_the_panels_and_bars_of_both_runs(browser: Any, shown: Shown) -> None:
    keys = [key for key, _ in (*CURVES, *BARS)]
    lines = read(browser, shown.links["charts"], *keys, *TITLES, "Training dynamics", "At the end")
    assert "No charts in this section" not in lines
    assert "2 matching runs" in lines  # the trainings, and not the summary
    drawn = str(browser.execute_script("return document.body.textContent"))
    for key, _ in CURVES:
        for title in TITLES:
            assert f"{title} ({key})" in drawn  # of the legend, by which a curve is told
    # Methods have the colours of the figures, far apart.
    assert {"#0072B2", "#D55E00"} <= set(lines)


def test_list_of_runs_has_the_values_that_matter(browser: Any, shown: Shown) -> None:
    lines = read(browser, shown.links["runs"], *TITLES, "2 matching runs")
    for metrics in shown.metrics.values():
        for key, _ in BARS:
            assert shortest(metrics[key]) in lines, key


def test_table_view_opens_with_the_metrics_of_both_runs_side_by_side(
    browser: Any, shown: Shown
) -> None:
    row = "train | max_probability | final"
    lines = read(browser, shown.links["tables"], "all_metrics.json", *TITLES, row)
    place = lines.index(row)
    expected = [shown.metrics[title]["final/train_max_probability"] for title in TITLES]
    assert [float(text) for text in lines[place + 1 : place + 3]] == pytest.approx(
        expected, abs=5e-5
    )


def test_compare_page_opens_with_parameters_and_values(browser: Any, shown: Shown) -> None:
    metric = "best/test_accuracy"
    lines = read(
        browser, shown.links["compare"], "Comparing 2 Runs from 1 Experiment", *TITLES, metric
    )
    assert "loss.name cross_entropy proselflc" in lines
    assert "noise.rate 0.2 0.2" in lines
    assert "training.learning_rate 0.02 0.02" in lines
    # The page writes three decimal places.
    for title in TITLES:
        assert f"{shown.metrics[title][metric]:.3f}".rstrip("0").rstrip(".") in lines


def test_registered_model_has_its_aliases(browser: Any, shown: Shown) -> None:
    lines = read(browser, shown.links["model"], "Version 1", "Version 2", "champion", "challenger")
    for title in TITLES:
        assert title in lines


def test_summary_shows_the_report_and_the_table(browser: Any, shown: Shown) -> None:
    report = read_frame(browser, shown.links["report"], "CCE", "PSLC")
    accuracy = shown.metrics[TITLES[0]]["final/test_accuracy"]
    assert f"{100 * accuracy:.1f}" in report
    assert f"{100 * accuracy:.1f}" in read_frame(browser, shown.links["table"], "CCE", "PSLC")


def test_summary_shows_a_figure_and_the_data_card(browser: Any, shown: Shown) -> None:
    read(browser, shown.links["figures"], "method_comparison.png")
    deadline = time.monotonic() + SECONDS
    while not browser.execute_script(
        "return [...document.images].some(image => image.naturalWidth > 400)"
    ):
        assert time.monotonic() < deadline, "no figure is drawn"
        time.sleep(0.3)
    lines = read(browser, shown.links["data"], "data_card.md", "Data card")
    assert "Page Not Found" not in lines


def shortest(value: float) -> str:
    """A number as JavaScript writes it, which is as JSON does, but for whole ones."""
    return str(int(value)) if value == int(value) else json.dumps(value)
