"""The command line, as a person uses it: exit codes, messages, and what is left on disk."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from protein_robust.pipeline import build_parser, main

WriteStudy = Callable[..., Path]
COMMANDS = ("run", "ingest", "train", "evaluate", "compare", "ui")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default folders such as results/ are relative."""
    place = tmp_path / "cwd"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "protein_robust.pipeline", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message of a request that must be refused with exit code 2."""
    code = main([str(argument) for argument in arguments])
    message = capsys.readouterr().err
    assert code == 2, message
    assert message.startswith("error: ")
    assert "Traceback" not in message
    return message


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
    assert "Expected a finite training loss" in message
    assert "Traceback" not in message


def test_ctrl_c_is_exit_code_130(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("protein_robust.commands.run_all", interrupt)
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


# What a user may get wrong. Each: exit code 2, a message that helps, nothing half-written.


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, "ingest", tmp_path / "absent.csv", "--output", tmp_path / "out")
    assert "absent.csv" in message
    assert not (tmp_path / "out").exists()


BAD_TABLES = {
    "an empty file": ("", "empty"),
    "no rows": ("family_accession,sequence\n", "got none"),
    "no family column": ("sequence,kind\nACD,x\n", "family"),
    "illegal letters": ("family_accession,sequence\nPF1,ACD\nPF2,AC1D\n", ":3: "),
    "one family of one sequence": ("family_accession,sequence\nPF1,ACD\n", "families"),
    "families too small for a test": ("family_accession,sequence\nPF1,ACD\nPF2,CDE\n", "test"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_table_that_cannot_be_used_is_refused(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text, hint = BAD_TABLES[case]
    source = tmp_path / "bad.csv"
    source.write_text(text)
    before = left_behind(tmp_path)
    message = refused(capsys, "ingest", source, "--output", tmp_path / "out")
    assert "bad.csv" in message or "famil" in message
    assert hint in message
    assert left_behind(tmp_path) == before


def test_a_truncated_gz_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "cut.csv.gz"
    rows = "".join(f"PF{i % 3},ACDEFGHIKLMNPQRSTVWY{'ACDE' * (i % 7)}\n" for i in range(3000))
    whole = gzip.compress(("family_accession,sequence\n" + rows).encode())
    source.write_bytes(whole[: len(whole) // 2])
    message = refused(capsys, "ingest", source, "--output", tmp_path / "out")
    assert "cut.csv.gz" in message
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_refused(
    table: Path, write_study: WriteStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    message = refused(capsys, "ingest", table, "--output", tmp_path / "file" / "out")
    assert "file" in message
    study = write_study(output=str(tmp_path / "file" / "results"))
    message = refused(capsys, "run", study)
    assert "Expected a folder that can be written" in message


def test_ingest_wants_files_and_a_folder(
    table: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "--output DIR" in refused(capsys, "ingest", table)
    assert "got neither" in refused(capsys, "ingest", "--output", tmp_path / "out")
    both = refused(capsys, "ingest", table, "--train", table, "--output", tmp_path / "out")
    assert "got both" in both


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("noise.0.label.rate=1.2", "got 1.2"),
        ("losses=[prosellc]", "did you mean `proselflc`"),
        ("training.epohcs=1", "did you mean `epochs`"),
    ],
)
def test_a_wrong_entry_of_a_study_is_refused(
    write_study: WriteStudy,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    override: str,
    hint: str,
) -> None:
    message = refused(capsys, "run", write_study(), "--set", override)
    assert hint in message
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "dataset").exists()


def test_a_run_of_the_study_that_is_not_there_is_refused(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "train", write_study(), "--loss", "CEE")
    assert "Expected --loss one of CCE, PSLC, got 'CEE'" in message


def test_a_folder_without_a_run_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "Expected the folder of a run" in refused(capsys, "evaluate", tmp_path)
    assert "study.json or run.json" in refused(capsys, "compare", tmp_path)


@pytest.mark.slow
def test_a_tracking_server_that_is_not_there_is_refused_before_any_work(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    study = write_study(tracking=f"{{uri: 'http://127.0.0.1:{port}'}}")
    message = refused(capsys, "run", study)
    assert f"http://127.0.0.1:{port}" in message
    assert not (tmp_path / "dataset").exists()


def test_a_mistake_has_no_traceback_in_a_process_of_its_own() -> None:
    done = in_a_process("run", "absent.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "absent.yaml: Expected a readable study file" in done.stderr
    assert "Traceback" not in done.stderr
