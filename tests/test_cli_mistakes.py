"""What a user may get wrong: exit code 2, a message that helps, nothing half-written."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from protein_robust.pipeline import main

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("empty_folder")


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
    command = [sys.executable, "-m", "protein_robust.pipeline", "run", "absent.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "absent.yaml: Expected a readable study file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_study_leaves_nothing(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent = f"{{source: {tmp_path / 'absent.csv'}, output: {tmp_path / 'dataset'}}}"
    tracking = f"{{uri: 'sqlite:///{tmp_path / 'mlflow.db'}'}}"
    study = write_study(data=absent, tracking=tracking)
    before = left_behind(tmp_path)
    assert "absent.csv" in refused(capsys, "run", study)
    assert left_behind(tmp_path) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, "run", write_study(device="cuda"))
    assert "Expected `device: cuda` on a machine with a GPU" in message
    assert not (tmp_path / "dataset").exists()


def test_options_of_ingest_and_a_studys_yaml_do_not_mix(
    write_study: WriteStudy, table: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, "ingest", write_study(), "--num-families", 2)
    assert "Expected --set data.num_families=... with the YAML of a study" in message
    out = tmp_path / "out"
    message = refused(capsys, "ingest", table, "--output", out, "--set", "data.seed=1")
    assert "Expected --set with the YAML of a study" in message


@pytest.mark.parametrize("uri", ["http://[::1", "ftp://host", "./mlruns"])
def test_a_tracking_address_that_cannot_be_one_is_refused(
    write_study: WriteStudy, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    assert uri in refused(capsys, "run", write_study(tracking=f"{{uri: '{uri}'}}"))


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ui", "--port", "99999"])
    assert ended.value.code == 2
    assert "expected a port from 1 to 65535, got '99999'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["study.json", "run.json"])
def test_results_that_cannot_be_read_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("{}")
    assert str(tmp_path) in refused(capsys, "compare", tmp_path)
