"""A classifier as a folder: back to the same bits, and never back from anything that is wrong."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from protein_robust.classifier import Classifier
from protein_robust.classifier.folder import find_model
from protein_robust.errors import InputError


@pytest.fixture
def folder(classifier: Classifier, tmp_path: Path) -> Path:
    return classifier.save(tmp_path / "model")


def rewrite(folder: Path, **changes: Any) -> None:
    """Change `model.json` and make its digest fit again."""
    path = folder / "model.json"
    content = json.loads(path.read_text()) | changes
    content.pop("sha256")
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    path.write_text(json.dumps({**content, "sha256": digest}))


def test_a_loaded_classifier_gives_the_same_bits(
    classifier: Classifier, folder: Path, sequences: list[str]
) -> None:
    loaded = Classifier.load(folder)
    pd.testing.assert_frame_equal(loaded.classify(sequences), classifier.classify(sequences))


def test_everything_else_comes_back_too(classifier: Classifier, folder: Path) -> None:
    loaded = Classifier.load(folder)
    for name in ("name", "families", "temperature", "thresholds", "least_length", "origin"):
        assert getattr(loaded, name) == getattr(classifier, name)
    assert loaded.thresholds[1].clan == math.inf
    assert torch.equal(loaded.centroids.mean, classifier.centroids.mean)
    np.testing.assert_array_equal(loaded.decoy_length, classifier.decoy_length)
    assert not loaded.network.training


def test_the_same_classifier_gives_the_same_files(
    classifier: Classifier, folder: Path, tmp_path: Path
) -> None:
    again = classifier.save(tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_a_model_is_replaced_and_nothing_else_is_left(
    make_classifier: Callable[..., Classifier], folder: Path
) -> None:
    make_classifier(name="other/run").save(folder)
    assert Classifier.load(folder).name == "other/run"
    names = {"model.json", "weights.safetensors", "reference.safetensors"}
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_with_other_files_is_left_alone(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="a new folder, or that of a model, got one with other"):
        classifier.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_place_that_cannot_be_written_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="a folder to write"):
        classifier.save(tmp_path / "model")


def test_a_file_in_the_way_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="a folder to write, got"):
        classifier.save(tmp_path / "file" / "model")


@pytest.mark.parametrize("name", ["weights.safetensors", "reference.safetensors"])
def test_a_file_that_was_cut_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=rf"{name}: Expected the file .* bytes of"):
        Classifier.load(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "reference.safetensors"])
def test_a_changed_bit_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: Expected the file .*sha256 differs"):
        Classifier.load(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors: Expected a file of tensors, got"):
        Classifier.load(folder)


def test_a_pickle_in_place_of_the_weights_is_never_opened(folder: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(folder / "harm"),))

    path = folder / "weights.safetensors"
    torch.save(Harm(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = json.loads((folder / "model.json").read_text())["files"]
    files[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    rewrite(folder, files=files)
    with pytest.raises(InputError, match="Expected a file of tensors, got"):
        Classifier.load(folder)
    assert not (folder / "harm").exists()


def test_a_changed_description_is_refused(folder: Path) -> None:
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"temperature": 1.5', '"temperature": 9.5'))
    with pytest.raises(InputError, match=r"model\.json: Expected the content .*sha256 differs"):
        Classifier.load(folder)


def test_another_schema_version_is_refused(folder: Path) -> None:
    rewrite(folder, schema_version=99)
    with pytest.raises(InputError, match=r"schema version 1 \(package .*\), got version 99"):
        Classifier.load(folder)


def test_something_else_in_json_is_refused(folder: Path) -> None:
    (folder / "model.json").write_text("[1]")
    with pytest.raises(InputError, match="the description of a model, got another one"):
        Classifier.load(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json: Expected JSON, got"):
        Classifier.load(folder)


def test_a_folder_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a model's folder with a model\.json, got none"):
        Classifier.load(tmp_path)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no temperature": ({"temperature": 0.0}, r"a temperature of 0\.0"),
    "another width": ({"network": {"width": 9, "dilations": [1, 2]}}, "size mismatch"),
    "an unknown setting": ({"network": {"breadth": 9, "dilations": [1]}}, "breadth"),
    "a setting out of range": ({"network": {"width": 0, "dilations": [1]}}, "`width`"),
    "thresholds of another kind": ({"thresholds": [{"error": 1}]}, "error"),
    "families without clans": ({"families": {"accession": []}}, "family_id"),
}


@pytest.mark.parametrize(("changes", "reason"), WRONG.values(), ids=WRONG.keys())
def test_content_that_fits_nothing_is_refused(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    rewrite(folder, **changes)
    with pytest.raises(InputError, match=rf"model\.json: Expected the content of a.*{reason}"):
        Classifier.load(folder)


def test_a_model_is_found_in_its_own_folder_and_in_that_of_its_run(folder: Path) -> None:
    assert find_model(folder) == folder
    assert find_model(folder.parent) == folder


def test_other_folders_say_what_to_do(tmp_path: Path, classifier: Classifier) -> None:
    with pytest.raises(InputError, match="the folder of a model or of a run, got none there"):
        find_model(tmp_path / "nothing")
    with pytest.raises(InputError, match="the folder of a model or of a run, got another folder"):
        find_model(tmp_path)
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"a run on sequences with a model folder \(`evaluate .*one` makes it"
    ):
        find_model(run)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(InputError, match="that of a study, whose runs are: none that is evaluated"):
        find_model(tmp_path)
    classifier.save(run / "model")
    with pytest.raises(InputError, match=r"that of a study, whose runs are: .*runs/one\."):
        find_model(tmp_path)
