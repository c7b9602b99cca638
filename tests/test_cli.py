"""The command line, as a person uses it: exit codes, messages, and what is left on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from protein_robust.pipeline import build_parser, main

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("empty_folder")
COMMANDS = ("run", "ingest", "train", "evaluate", "compare", "predict", "export", "ui")


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "protein_robust.pipeline", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def left_behind(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_parser_is_built_without_the_heavy_packages() -> None:
    code = (
        "import sys, protein_robust.pipeline as p; p.build_parser().format_help(); "
        "heavy = {'torch', 'mlflow', 'pandas', 'numpy', 'rich', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command_and_gives_examples() -> None:
    text = build_parser().format_help()
    assert all(f"\n    {command}" in text for command in COMMANDS)
    assert "pipelines/example.yaml" in text
    assert "exit codes" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 200


def test_an_unknown_command_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trian"])
    assert ended.value.code == 2
    assert "trian" in capsys.readouterr().err


def test_jobs_must_be_a_positive_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "x.yaml", "--jobs", "0"])
    assert ended.value.code == 2
    assert "expected a number of at least 1, got '0'" in capsys.readouterr().err


def test_print_config_prints_the_complete_study(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", str(write_study()), "--print-config", "--set", "seeds=[3]"]) == 0
    printed = capsys.readouterr().out
    copy = tmp_path / "copy.yaml"
    copy.write_text(printed)
    assert main(["run", str(copy), "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert "seeds:\n- 3\n" in printed
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_study_runs_to_its_table_and_then_has_nothing_left_to_do(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    path = write_study()
    first = in_a_process("run", str(path), "--jobs", "1")
    assert first.returncode == 0, first.stderr
    assert "accuracy" in first.stdout
    assert "PSLC" in first.stdout
    results = tmp_path / "results"
    written = {path.name for path in results.iterdir()}
    assert {"table.csv", "table.md", "table.parquet", "study.yaml", "study.json"} <= written
    assert [path for path in left_behind(results) if "partial" in path] == []
    second = in_a_process("run", str(path), "--jobs", "1")
    assert second.returncode == 0
    assert "2 of 2 runs are done already" in second.stderr
    assert second.stdout.replace("ingested before, unchanged", "ingested") == first.stdout


@pytest.mark.slow
def test_train_then_evaluate_then_compare_is_what_run_does(
    write_study: WriteStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study()
    assert main(["train", str(path), "--loss", "CCE", "--jobs", "1"]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert not (folder / "metrics.json").exists()
    assert main(["evaluate", str(folder)]) == 0
    assert main(["compare", str(folder)]) == 0
    alone = json.loads((folder / "metrics.json").read_text())
    assert f"{alone['final']['test']['accuracy']:.4f}" in capsys.readouterr().out
    assert main(["run", str(path), "--jobs", "1"]) == 0
    assert json.loads((folder / "metrics.json").read_text()) == alone
    capsys.readouterr()
    target = tmp_path / "compared"
    assert main(["compare", str(tmp_path / "results"), "--output", str(target)]) == 0
    assert "CCE" in capsys.readouterr().out
    assert (target / "table.csv").read_text() == (tmp_path / "results" / "table.csv").read_text()


@pytest.mark.slow
def test_a_run_that_diverges_is_exit_code_1(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    training = "{epochs: 1, batch_size: 16, optimizer: sgd, learning_rate: 1e30, clip_norm: null}"
    path = write_study(training=training, losses="[cross_entropy]")
    assert main(["run", str(path), "--jobs", "1"]) == 1
    message = capsys.readouterr().err
    assert "Expected a finite loss and gradient" in message
    assert "Traceback" not in message


def test_ctrl_c_is_exit_code_130(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("protein_robust.commands.studies.run_all", interrupt)
    assert main(["run", str(write_study())]) == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err


def test_ingest_takes_a_table(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", str(table), "--output", str(tmp_path / "out")]) == 0
    assert "families" in capsys.readouterr().out
    sequences = pd.read_parquet(tmp_path / "out" / "sequences.parquet")
    assert len(sequences) == 90
    assert set(sequences["split"]) == {"train", "valid", "test"}


def test_ingest_keeps_an_existing_split(tmp_path: Path) -> None:
    for split, residues in {"a": "ACDEF", "b": "GHIKL", "c": "MNPQR"}.items():
        rows = "".join(f"PF{i},{residues}{'A' * i}\n" for i in (1, 2))
        (tmp_path / f"{split}.csv").write_text("family_accession,sequence\n" + rows)
    files = [
        word
        for split, name in {"train": "a", "valid": "b", "test": "c"}.items()
        for word in (f"--{split}", str(tmp_path / f"{name}.csv"))
    ]
    assert main(["ingest", *files, "--output", str(tmp_path / "out")]) == 0
    sequences = pd.read_parquet(tmp_path / "out" / "sequences.parquet")
    assert dict(sequences.groupby("split").size()) == {"train": 2, "valid": 2, "test": 2}


def test_ingest_takes_the_data_section_of_a_study(write_study: WriteStudy, tmp_path: Path) -> None:
    assert main(["ingest", str(write_study())]) == 0
    assert (tmp_path / "dataset" / "manifest.json").exists()
