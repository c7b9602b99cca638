"""`predict` and `export` as a bioinformatician uses them, with a network that was trained here."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from protein_robust.classifier import Classifier
from protein_robust.pipeline import main

MOTIFS = {"PF1": "WWHCKD", "PF2": "GGPYEF", "PF3": "MNQRST"}
LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
DAY = ("--date", "2026-03-01")

STUDY = """\
name: tiny
output: {place}/results
data: {{source: {place}/table.csv, output: {place}/dataset}}
noise: [{{name: clean}}]
model: {{width: 16, dilations: [1, 2]}}
training: {{epochs: 12, batch_size: 16, learning_rate: 1e-2}}
losses: [{{name: cross_entropy, label: CCE}}]
tracking: {{enabled: false}}
"""


def write_table(path: Path, num_sequences: int) -> None:
    """Three families, each with a motif of its own in random residues."""
    rng = np.random.default_rng(0)
    rows = ["family_accession,sequence"]
    for number in range(num_sequences):
        family = list(MOTIFS)[number % 3]
        residues = "".join(rng.choice(LETTERS, rng.integers(20, 60)))
        place = rng.integers(0, len(residues))
        rows.append(f"{family},{residues[:place]}{MOTIFS[family]}{residues[place:]}")
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a study of one run."""
    place = tmp_path_factory.mktemp("study")
    write_table(place / "table.csv", 240)
    (place / "tiny.yaml").write_text(STUDY.format(place=place))
    assert main(["run", str(place / "tiny.yaml")]) == 0
    return place / "results"


@pytest.fixture(scope="module")
def run(study: Path) -> Path:
    (folder,) = (study / "runs").iterdir()
    return folder


@pytest.fixture
def records() -> dict[str, str]:
    """Sequences with a motif of the study, and some others, in an order that nothing sorts."""
    rng = np.random.default_rng(4)
    found = {}
    for number in range(60):
        residues = "".join(rng.choice(LETTERS, rng.integers(2, 90)))
        motif = list(MOTIFS.values())[number % 3] if number % 4 else ""
        found[f"seq{(number * 37) % 60}/1-9"] = residues + motif
    return found


@pytest.fixture
def fasta(tmp_path: Path, records: dict[str, str]) -> Path:
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">{name} of a test\n{text}\n" for name, text in records.items()))
    return path


def predict(*arguments: str | Path) -> int:
    return main(["predict", *map(str, arguments), *DAY])


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="-")


def test_the_table_is_what_the_classifier_says_in_the_order_of_the_file(
    run: Path, fasta: Path, records: dict[str, str], tmp_path: Path
) -> None:
    assert predict("--model", run, fasta, "--output", tmp_path / "out.tsv") == 0
    table = read(tmp_path / "out.tsv")
    expected = Classifier.load(run / "model").classify(list(records.values()))
    assert table["sequence_name"].tolist() == list(records)
    common = [name for name in expected.columns if name not in ("clan", "family_description")]
    pd.testing.assert_frame_equal(table[common], expected[common], check_dtype=False, rtol=1e-5)
    assert table["clan"].isna().all()  # a table of families without clans


def test_motifs_are_recognised_and_what_is_short_is_said_to_be(
    run: Path, fasta: Path, records: dict[str, str], tmp_path: Path
) -> None:
    predict("--model", run / "model", fasta, "--output", tmp_path / "out.tsv")
    table = read(tmp_path / "out.tsv")
    least = Classifier.load(run / "model").least_length
    is_short = np.array([len(text) < least for text in records.values()])
    assert ((table["verdict"] == "too-short") == is_short).all()
    assert is_short.any()
    accepted = table[table["verdict"] == "accept"]
    motif = accepted["family"].map(MOTIFS)
    texts = [records[name] for name in accepted["sequence_name"]]
    right = [text.endswith(end) for text, end in zip(texts, motif, strict=True)]
    assert len(right) > 10
    assert np.mean(right) > 0.8


def test_all_ways_in_and_out_give_the_same(
    run: Path, fasta: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    predict("--model", run, fasta, "--output", tmp_path / "out.tsv")
    expected = (tmp_path / "out.tsv").read_bytes()
    capfdbinary.readouterr()
    packed = tmp_path / "in.fasta.gz"
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    assert predict("--model", run, packed) == 0
    out, said = capfdbinary.readouterr()
    assert out == expected
    assert said.startswith(b"60 sequences in ")
    assert predict("--model", run, packed, "--output", "-") == 0
    assert capfdbinary.readouterr().out == expected


@pytest.mark.slow
def test_standard_input_is_read_and_standard_output_has_the_table_alone(
    run: Path, fasta: Path, tmp_path: Path
) -> None:
    predict("--model", run, fasta, "--output", tmp_path / "out.tsv")
    command = [sys.executable, "-m", "protein_robust.pipeline", "predict", "-", "--model", str(run)]
    done = subprocess.run(
        [*command, *DAY], input=fasta.read_bytes(), capture_output=True, check=True
    )
    assert done.stdout == (tmp_path / "out.tsv").read_bytes()
    assert b"60 sequences in " in done.stderr
    assert b"\x1b" not in done.stderr  # no bar where there is no terminal


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_mistake(run: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.fasta"
    many.write_text("".join(f">s{number}\nMKVLACDEFGHIKLM\n" for number in range(20_000)))
    command = f"{sys.executable} -m protein_robust.pipeline predict --model {run} {many} | head -2"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.count("\n") == 2
    assert done.stderr.startswith("20,000 sequences in ")
    assert done.stderr.count("\n") == 1  # and no traceback


def test_parquet_and_gff3_have_the_same_sequences(run: Path, fasta: Path, tmp_path: Path) -> None:
    for suffix in ("tsv", "parquet", "gff3"):
        assert predict("--model", run, fasta, "--output", tmp_path / f"out.{suffix}") == 0
    table = read(tmp_path / "out.tsv")
    frame = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert frame["sequence_name"].tolist() == table["sequence_name"].tolist()
    np.testing.assert_allclose(frame["q_value"], table["q_value"], rtol=1e-6)
    lines = (tmp_path / "out.gff3").read_text().splitlines()
    features = [line.split("\t") for line in lines if not line.startswith("#")]
    accepted = table[table["verdict"] == "accept"]
    assert [line[0] for line in features] == [
        name.replace("/", "%2F") for name in accepted["sequence_name"]
    ]


def test_a_stricter_error_accepts_no_more(run: Path, fasta: Path, tmp_path: Path) -> None:
    accepted = []
    for error in ("0.01", "0.05", "0.2"):
        predict("--model", run, fasta, "--output", tmp_path / "o.tsv", "--tolerated-error", error)
        accepted.append((read(tmp_path / "o.tsv")["verdict"] == "accept").sum())
    assert accepted == sorted(accepted)


def test_at_level_0_everything_is_unknown_that_is_long_enough(
    run: Path, fasta: Path, tmp_path: Path
) -> None:
    predict("--model", run, fasta, "--output", tmp_path / "o.tsv", "--unknown-level", "0")
    assert set(read(tmp_path / "o.tsv")["verdict"]) == {"unknown", "too-short"}


def test_residues_are_cleaned_and_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fasta = tmp_path / "in.fa"
    fasta.write_text(">a\nmkvl-acd\n\nEFGHIKLMX*\n>b\nMKVLACDEFGHIKLMX\n")
    assert predict("--model", run, fasta, "--output", tmp_path / "out.tsv") == 0
    table = read(tmp_path / "out.tsv").drop(columns="sequence_name")
    assert table.loc[0].tolist() == table.loc[1].tolist() or table.loc[0].equals(table.loc[1])
    assert table["sequence_length"].tolist() == [16, 16]
    assert "letters: 1 gaps, 7 lower case, 1 stops, 2 X" in capsys.readouterr().err


def test_a_sequence_of_35000_residues_is_classified(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    long = "".join(rng.choice(LETTERS, 35_000))
    (tmp_path / "in.fa").write_text(f">titin\n{long}\n>short\nM\n")
    assert predict("--model", run, tmp_path / "in.fa", "--output", tmp_path / "out.tsv") == 0
    table = read(tmp_path / "out.tsv")
    assert table[["start", "stop"]].to_numpy().tolist() == [[1, 35_000], [1, 1]]
    assert table["verdict"][1] == "too-short"


def test_the_date_is_the_day_of_the_run_unless_it_is_given(
    run: Path, fasta: Path, tmp_path: Path
) -> None:
    from datetime import date

    before = date.today()
    main(["predict", "--model", str(run), str(fasta), "--output", str(tmp_path / "out.tsv")])
    days = {day.strftime("%d-%m-%Y") for day in (before, date.today())}
    assert set(read(tmp_path / "out.tsv")["date"]) <= days
    predict("--model", run, fasta, "--output", tmp_path / "out.tsv")
    assert set(read(tmp_path / "out.tsv")["date"]) == {"01-03-2026"}


@pytest.mark.usefixtures("empty_folder")
def test_a_file_named_example_is_that_file(run: Path, tmp_path: Path) -> None:
    Path("example").write_text(">mine\nMKVL\n")
    assert predict("--model", run, "example", "--output", tmp_path / "out.tsv") == 0
    assert read(tmp_path / "out.tsv")["sequence_name"].tolist() == ["mine"]


# What goes wrong.


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The message of a request that is refused with exit code 2."""
    capsys.readouterr()
    assert predict(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return " ".join(captured.err.split())


BAD = {
    "a digit": (">a\nMKV\n>b\nMK1V\n", "in.fa:3: Expected residue letters"),
    "no residues": (">a\nMKV\n>b\n>c\nM\n", "in.fa:3: Expected residues below each header"),
    "the same name": (">a\nMKV\n>a\nMKV\n", "in.fa:3: Expected another name"),
    "no header": ("MKV\n", "in.fa:1: Expected '>' before the first sequence"),
    "no name": (">\nMKV\n", "in.fa:1: Expected"),
    "nothing": ("", "in.fa: Expected a file with records, got an empty file"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_fasta_is_refused_with_its_line_and_nothing_is_written(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    message: str,
) -> None:
    (tmp_path / "in.fa").write_text(content)
    arguments = "--model", run, tmp_path / "in.fa", "--output", tmp_path / "out.tsv"
    assert message in refused(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["in.fa"]


def test_bad_records_are_passed_over_and_listed_where_that_is_asked_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fa").write_text(">a\nMKV\n>b\nMK1V\n>a\nMK\n>c\nMKVL\n")
    arguments = "--model", run, tmp_path / "in.fa", "--output", tmp_path / "out.tsv"
    assert predict(*arguments, "--on-bad-record", "skip") == 0
    assert read(tmp_path / "out.tsv")["sequence_name"].tolist() == ["a", "c"]
    said = capsys.readouterr().err
    assert "skipped: 2 records" in said
    assert f"{tmp_path / 'in.fa'}:3: Expected residue letters" in said
    assert f"{tmp_path / 'in.fa'}:5: Expected another name" in said


def test_when_every_record_is_bad_the_table_has_no_rows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fa").write_text(">a\nMK1V\n")
    for suffix in ("tsv", "parquet", "gff3"):
        target = tmp_path / f"out.{suffix}"
        arguments = "--model", run, tmp_path / "in.fa", "--output", target
        assert predict(*arguments, "--on-bad-record", "skip") == 0
    assert len(read(tmp_path / "out.tsv")) == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    assert (tmp_path / "out.gff3").read_text() == "##gff-version 3\n"
    assert "0 sequences in" in capsys.readouterr().err


def test_a_cut_gz_is_refused(
    run: Path, fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = gzip.compress(fasta.read_bytes())
    (tmp_path / "cut.fa.gz").write_bytes(whole[: len(whole) // 2])
    message = refused(capsys, "--model", run, tmp_path / "cut.fa.gz")
    assert "cut.fa.gz: Expected a whole gzip file" in message


def test_other_files_are_refused(
    run: Path, study: Path, fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "none there" in refused(capsys, "--model", run, tmp_path / "nothing.fa")
    assert "whose runs are:" in refused(capsys, "--model", study, fasta)
    assert "got none there" in refused(capsys, "--model", tmp_path / "nothing", fasta)
    excel = refused(capsys, "--model", run, fasta, "--output", tmp_path / "out.xlsx")
    assert "ends with one of .tsv, .parquet, .gff3" in excel


def test_a_damaged_model_is_refused(
    run: Path, fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    with (tmp_path / "model" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        file.write(b"\xff")
    message = refused(capsys, "--model", tmp_path / "model", fasta)
    assert "weights.safetensors: Expected the file that was written" in message


def test_an_error_without_a_threshold_is_refused(
    run: Path, fasta: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "--model", run, fasta, "--tolerated-error", "0.3")
    assert "a tolerated error among 0.01, 0.02, 0.05, 0.1, 0.2, got 0.3" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(
    run: Path, fasta: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "--model", run, fasta, "--device", "cuda")
    assert "`--device cuda` on a machine with a GPU that PyTorch can use, got none" in message


def test_a_long_list_of_bad_records_is_cut(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fa").write_text("".join(f">s{number}\nM1\n" for number in range(23)))
    assert predict("--model", run, tmp_path / "in.fa", "--on-bad-record", "skip") == 0
    said = capsys.readouterr().err
    assert said.count("Expected residue letters") == 20
    assert "and 3 more" in said


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tolerated-error", "much", "expected a number or none, got 'much'"),
        ("--date", "1.3.2026", "expected YYYY-MM-DD, got '1.3.2026'"),
        ("--threads", "0", "expected a number of at least 1, got '0'"),
    ],
)
def test_a_wrong_value_of_an_option_is_exit_code_2(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", "x", "y", option, value])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


# Export.


@pytest.mark.slow
def test_a_run_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    import onnxruntime

    target = tmp_path / "tiny.onnx"
    assert main(["export", "--model", str(run), "--output", str(target)]) == 0
    assert "logits differ from PyTorch's by at most" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(target)
    tokens = np.zeros((2, 9), np.uint8)
    (logits,) = session.run(None, {"tokens": tokens, "mask": np.ones((2, 9), bool)})
    assert logits.shape == (2, 3)


def test_an_export_that_is_no_onnx_file_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--model", str(run), "--output", str(tmp_path / "x.bin")]) == 2
    assert "an output that ends with .onnx, got 'x.bin'" in capsys.readouterr().err
    nowhere = str(tmp_path / "nowhere" / "x.onnx")
    assert main(["export", "--model", str(run), "--output", nowhere]) == 2
    assert "an existing folder for the output" in capsys.readouterr().err
