"""Each notebook: source and executed copy agree, it runs, and it only calls the library."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))

every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def executed(source: Path) -> Any:
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(source: Path) -> list[Any]:
    return [output for cell in code_cells(executed(source)) for output in cell.outputs]


def python_of(source: Path) -> list[str]:
    """Code cells of the source, without the magics, which are no Python."""
    return [
        "".join(line for line in cell.source.splitlines(True) if not line.startswith("%"))
        for cell in code_cells(jupytext.read(source))
    ]


def test_there_is_a_notebook_and_each_has_a_source() -> None:
    assert SOURCES
    assert {path.stem for path in SOURCES} == {path.stem for path in FOLDER.glob("*.ipynb")}


@every_notebook
def test_source_and_executed_copy_have_the_same_cells(source: Path) -> None:
    of_source, of_copy = (
        [(cell.cell_type, cell.source) for cell in notebook.cells]
        for notebook in (jupytext.read(source), executed(source))
    )
    assert of_copy == of_source  # if not: make notebooks


@every_notebook
def test_the_copy_was_executed_once_from_top_to_bottom(source: Path) -> None:
    counts = [cell.execution_count for cell in code_cells(executed(source))]
    assert counts == list(range(1, len(counts) + 1))
    assert any("image/png" in output.get("data", {}) for output in outputs(source))


@every_notebook
def test_no_output_is_a_warning_or_an_error(source: Path) -> None:
    noise = [o for o in outputs(source) if o.output_type == "error" or o.get("name") == "stderr"]
    assert noise == []


@every_notebook
def test_no_output_names_a_place_on_the_machine_that_made_it(source: Path) -> None:
    texts = [str(text) for output in outputs(source) for text in _texts(output)]
    places = [
        place for text in texts for place in re.findall(r"/(?:home|root|tmp|Users)/\S+", text)
    ]
    assert places == []
    assert not any(str(FOLDER.parent) in text for text in texts)


def _texts(output: Any) -> list[str]:
    data = output.get("data", {})
    return [output.get("text", "")] + [data[kind] for kind in data if not kind.startswith("image/")]


@every_notebook
def test_it_imports_the_package_and_defines_nothing(source: Path) -> None:
    nodes = [node for text in python_of(source) for node in ast.walk(ast.parse(text))]
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    assert [ast.unparse(node) for node in nodes if isinstance(node, definitions)] == []
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert any(module.split(".")[0] == "protein_robust" for module in modules)


@every_notebook
def test_no_code_cell_is_longer_than_six_lines(source: Path) -> None:
    lengths = [len([line for line in text.splitlines() if line]) for text in python_of(source)]
    assert max(lengths) <= 6


@pytest.mark.slow
@every_notebook
def test_it_runs_to_its_end_with_one_epoch_where_it_has_epochs(source: Path) -> None:
    notebook = jupytext.read(source)
    parameters = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == any("EPOCHS" in text for text in python_of(source))
    for cell in parameters:
        cell.source, count = re.subn(r"EPOCHS = \d+", "EPOCHS = 1", cell.source)
        assert count == 1
    place = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    streams = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert [output.text for output in streams if output.get("name") == "stderr"] == []
