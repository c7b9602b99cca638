"""A small study that every end-to-end test can afford."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

MOTIFS = {"PF1": "WWHCKD", "PF2": "GGPYEF", "PF3": "MNQRST"}


def write_table(path: Path, *, num_sequences: int = 90) -> Path:
    """A table of three families, each with a motif of its own in random residues."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(num_sequences):
        family = list(MOTIFS)[number % 3]
        residues = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size=rng.integers(20, 60))
        place = rng.integers(0, len(residues))
        sequence = "".join(residues[:place]) + MOTIFS[family] + "".join(residues[place:])
        rows.append(f"{family},{sequence}\n")
    path.write_text("family_accession,sequence\n" + "".join(rows))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv")


def write_study_in(folder: Path, **sections: str) -> Path:
    """A study of two losses and one noise setting; keyword texts replace its sections."""
    content = {
        "name": "tiny",
        "output": str(folder / "results"),
        "data": f"{{source: {folder / 'table.csv'}, output: {folder / 'dataset'}}}",
        "noise": "[{name: crop + label, crop: {kind: random, min_fraction: 0.8}, "
        "label: {kind: symmetric, rate: 0.2}}]",
        "model": "{width: 8, dilations: [1, 2]}",
        "training": "{epochs: 2, batch_size: 16, learning_rate: 1e-2}",
        "losses": "[{name: cross_entropy, label: CCE}, {name: proselflc, label: PSLC}]",
        "tracking": "{enabled: false}",
        **sections,
    }
    path = folder / "tiny.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in content.items()))
    return path


@pytest.fixture
def write_study(tmp_path: Path, table: Path) -> Callable[..., Path]:
    """Writes a study of the table; keyword texts replace its sections."""
    assert table.parent == tmp_path
    return partial(write_study_in, tmp_path)


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[..., Path]]:
    """A folder for the tests of one file, and what writes a study in it, as `write_study`."""
    folder = tmp_path_factory.mktemp("study")
    write_table(folder / "table.csv")
    return folder, partial(write_study_in, folder)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder, since default folders such as results/ are relative."""
    place = tmp_path / "cwd"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place
