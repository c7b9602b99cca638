"""The project's own files against each other: packages, commands, README, what Git keeps."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from protein_robust.losses import LOSSES
from protein_robust.pipeline import build_parser

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LARGEST = 500 * 1024
"""Bytes of a file in Git."""


def requirements() -> list[str]:
    """Every requirement of pyproject.toml, extras included, each once."""
    extras = PROJECT["optional-dependencies"].values()
    return sorted({*PROJECT["dependencies"], *(line for extra in extras for line in extra)})


def pins() -> dict[str, str]:
    """Version of each package in constraints.txt, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def tracked_files() -> list[Path]:
    """What Git keeps, as far as it is there."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("Git's list of files is needed: no git command, or no checkout")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [Path(name) for name in done.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).exists()]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))


def table_rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading of the README, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


# Packages: pyproject.toml is the list, constraints.txt the versions, environment.yml the way in.


def test_conda_installs_the_package_with_its_constraints_and_nothing_else() -> None:
    *conda, pip = ENVIRONMENT["dependencies"]
    assert [re.split(r"[<>=]", line)[0] for line in conda] == ["python", "pip"]
    constraint, editable = pip["pip"]
    assert constraint == "--constraint constraints.txt"
    assert re.fullmatch(r"--editable \.\[[a-z,]+\]", editable)


def test_conda_asks_for_extras_that_exist() -> None:
    editable = ENVIRONMENT["dependencies"][-1]["pip"][-1]
    extras = editable.partition("[")[2].rstrip("]").split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_every_python_that_conda_may_take_is_allowed() -> None:
    asked = SpecifierSet(ENVIRONMENT["dependencies"][0].removeprefix("python"))
    allowed = SpecifierSet(PROJECT["requires-python"])
    taken = [version for minor in range(40) if (version := f"3.{minor}") in asked]
    assert taken
    assert [version for version in taken if version not in allowed] == []


@pytest.mark.parametrize("line", requirements())
def test_each_requirement_has_a_pinned_version_in_its_range(line: str) -> None:
    requirement = Requirement(line)
    name = canonicalize_name(requirement.name)
    if name == "pyhmmer" and name not in pins():
        return  # optional, and not part of the tested environment
    assert name in pins()
    assert Version(pins()[name]) in requirement.specifier


def test_each_pin_is_one_exact_version() -> None:
    loose = {name: version for name, version in pins().items() if "*" in version}
    assert loose == {}
    assert Version(pins()["torch"]).local is None  # a `+cpu` build is not to be had from PyPI


# Commands.


def test_make_has_the_commands_of_the_readme() -> None:
    assert {"setup", "run", "test", "ui", "lint"} <= make_targets()
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"`[^`]+`", README))))
    assert named <= make_targets()


def test_no_make_target_is_mistaken_for_a_file() -> None:
    phony = set(MAKEFILE.split(".PHONY:")[1].splitlines()[0].split())
    assert phony == make_targets()


def test_ci_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8").splitlines()


def test_the_readme_explains_each_command_and_no_other() -> None:
    (commands,) = (
        action.choices
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)  # argparse has no public way to ask
    )
    explained = [row[0].strip("`").split()[0] for row in table_rows("The command line")]
    assert explained == list(commands)


# What the README says is there.


def test_the_readme_names_every_top_level_folder() -> None:
    folders = {path.parts[0] for path in tracked_files() if len(path.parts) > 1}
    place = README.split("## Where things live")[1].split("```")[1]
    named = set(re.findall(r"^([a-z_]+)/", place, flags=re.MULTILINE))
    assert {folder for folder in folders if not folder.startswith(".")} <= named


def test_the_readme_lists_every_loss_with_all_its_parameters() -> None:
    listed = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in table_rows("Which loss")
    }
    there = {
        name: {field.name for field in dataclasses.fields(loss)} for name, loss in LOSSES.items()
    }
    assert listed == there


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "data/README.md", "benchmarks/README.md"]
)
def test_what_a_page_links_to_or_names_is_there(name: str) -> None:
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    named = re.findall(r"\b((?:pipelines|benchmarks|tests|notebooks)/[\w/.]+\.\w+)", text)
    places = [*(page.parent / target for target in linked), *(ROOT / path for path in named)]
    assert [str(place) for place in places if not place.exists()] == []


# What Git keeps.


def test_git_keeps_no_large_file() -> None:
    sizes = {str(path): (ROOT / path).stat().st_size for path in tracked_files()}
    assert {path: size for path, size in sizes.items() if size > LARGEST} == {}


def test_git_keeps_no_data() -> None:
    in_data = [str(path) for path in tracked_files() if path.parts[0] == "data"]
    assert in_data == ["data/README.md"]


def test_git_keeps_no_run_products() -> None:
    products = {"results", "mlruns", "mlartifacts", "mlflow.db"}
    assert [str(path) for path in tracked_files() if path.parts[0] in products] == []


def test_the_readme_has_no_place_left_to_fill() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^[A-Z0-9_]{6,}$", text, re.MULTILINE) == []
