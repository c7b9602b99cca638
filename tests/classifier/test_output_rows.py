"""Rows as people get them: TSV, Parquet and GFF3, read again with other tools."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.classifier.rows import OUTPUT_SCHEMA, ROW_SCHEMA, output_rows
from protein_robust.classifier.writing import check_output, write_file
from protein_robust.errors import InputError

DAY = date(2026, 3, 1)


def rows() -> pa.Table:
    """Four sequences, one of each verdict; the second name has all that GFF3 must escape."""
    columns: dict[str, list[Any]] = {
        "sequence_name": ["one", ">a;b=c,d&e%f/~g|h\u00e4", "three", "four"],
        "sequence_md5": ["a" * 32, "b" * 32, "c" * 32, "d" * 32],
        "sequence_length": [120, 35, 99, 3],
        "family": ["PF1.1", "PF2.3", "PF3.2", "PF3.2"],
        "family_description": ["Kinase; a=b, 50% & more", None, None, None],
        "confidence": [0.98765432, 0.25, 1e-7, 0.5],
        "second_family": ["PF2.3", "PF1.1", "PF1.1", "PF1.1"],
        "second_confidence": [0.01, 0.2, 1e-9, 0.1],
        "clan": ["CL1", "CL1", None, None],
        "clan_confidence": [0.99, 0.7, 1e-7, 0.5],
        "ood_score": [0.1, 0.2, 1.5, 1.0],
        "p_value": [1 / 10001, 0.02, 1.0, 0.5],
        "verdict": ["accept", "clan-only", "unknown", "too-short"],
    }
    return pa.table(columns, schema=ROW_SCHEMA)


@pytest.fixture
def output() -> pa.Table:
    q_value = np.array([4 / 10001, 0.04, 1.0, 2 / 3])
    return output_rows(rows(), q_value, model="study/run-1", day=DAY)


def written(path: Path, output: pa.Table) -> Path:
    """Two rows at a time, as a stream comes."""
    write_file(path, iter([output.slice(0, 2), output.slice(2)]))
    return path


def test_the_leading_columns_are_those_of_interproscan(output: pa.Table) -> None:
    first = {name: values[0] for name, values in output.to_pydict().items()}
    assert list(first.values())[:11] == [
        "one",  # protein accession
        "a" * 32,  # MD5 of the sequence
        120,  # its length
        "protein_robust",  # analysis
        "PF1.1",  # signature accession
        "Kinase; a=b, 50% & more",  # and description
        1,  # start
        120,  # stop
        1 / 10001,  # score
        "T",  # status
        "01-03-2026",  # date
    ]


def test_only_what_is_accepted_has_the_status_of_a_true_match(output: pa.Table) -> None:
    assert output["status"].to_pylist() == ["T", "?", "?", "?"]


def test_a_tsv_read_again_has_the_same_values(tmp_path: Path, output: pa.Table) -> None:
    frame = pd.read_csv(written(tmp_path / "out.tsv", output), sep="\t", na_values="-")
    expected = output.to_pandas()
    assert list(frame.columns) == OUTPUT_SCHEMA.names
    for name in frame.columns:
        if frame[name].dtype.kind == "f":
            # Single precision: 24 bits.
            np.testing.assert_allclose(frame[name], expected[name], rtol=2**-23)
        else:
            assert frame[name].dropna().tolist() == expected[name].dropna().tolist()


def test_a_tsv_has_the_names_of_its_columns_first_and_a_dash_for_what_is_missing(
    tmp_path: Path, output: pa.Table
) -> None:
    lines = written(tmp_path / "out.tsv", output).read_text().split("\n")
    assert lines[0] == "\t".join(OUTPUT_SCHEMA.names)
    assert lines[3].split("\t")[5] == "-"  # the description of PF3.2
    assert lines[3].split("\t")[14] == "-"  # its clan
    assert {len(line.split("\t")) for line in lines[:-1]} == {21}
    assert lines[-1] == ""  # the last line has its end


def test_parquet_read_again_is_the_same_table(tmp_path: Path, output: pa.Table) -> None:
    path = written(tmp_path / "out.parquet", output)
    assert pq.read_table(path).equals(output)
    assert pq.ParquetFile(path).num_row_groups == 2  # streamed


def gff3(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Read GFF3 as its specification says: directives, and features with decoded attributes."""
    directives, features = [], []
    for line in path.read_text().splitlines():
        if line.startswith("##"):
            directives.append(line)
            continue
        columns = line.split("\t")
        assert len(columns) == 9
        pairs = [pair.split("=") for pair in columns[8].split(";")]
        attributes = {unquote(key): unquote(value) for key, value in pairs}
        names = ["seqid", "source", "type", "start", "end", "score", "strand", "phase"]
        features.append({**dict(zip(names, columns, strict=False)), **attributes})
    return directives, features


def test_gff3_has_a_region_for_each_sequence_and_a_match_for_what_is_believed(
    tmp_path: Path, output: pa.Table
) -> None:
    directives, features = gff3(written(tmp_path / "out.gff3", output))
    escaped = "%3Ea%3Bb%3Dc%2Cd%26e%25f%2F%7Eg|h%C3%A4"
    assert directives == [
        "##gff-version 3",
        "##sequence-region one 1 120",
        f"##sequence-region {escaped} 1 35",
        "##sequence-region three 1 99",
        "##sequence-region four 1 3",
    ]
    assert [feature["seqid"] for feature in features] == ["one", escaped]
    assert {feature["type"] for feature in features} == {"protein_match"}


def test_a_match_in_gff3_says_what_the_row_says(tmp_path: Path, output: pa.Table) -> None:
    _, (family, clan) = gff3(written(tmp_path / "out.gff3", output))
    assert (family["Name"], family["clan"]) == ("PF1.1", "CL1")
    assert family["signature_desc"] == "Kinase; a=b, 50% & more"
    assert (family["start"], family["end"]) == ("1", "120")
    assert float(family["score"]) == pytest.approx(1 / 10001, rel=1e-5)
    assert float(family["q_value"]) == pytest.approx(4 / 10001, rel=1e-5)
    # Of a sequence whose family nobody should believe, only the clan is named.
    assert (clan["Name"], clan["verdict"]) == ("CL1", "clan-only")
    assert "PF2.3" not in clan.values()
    assert clan["ID"] == "match.>a;b=c,d&e%f/~g|h\u00e4"
    assert family["ID"] != clan["ID"]


def test_a_stream_that_breaks_leaves_the_old_file(tmp_path: Path, output: pa.Table) -> None:
    path = written(tmp_path / "out.tsv", output)
    before = path.read_bytes()

    def broken() -> Any:
        yield output
        raise InputError("whole rows", "half of one")

    with pytest.raises(InputError, match="half of one"):
        write_file(path, broken())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.tsv"]


def test_an_output_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    expected = r"an output that ends with one of \.tsv, \.parquet, \.gff3, got 'out\.xlsx'"
    with pytest.raises(InputError, match=expected):
        check_output(tmp_path / "out.xlsx")


def test_an_output_without_a_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dir.tsv").mkdir()
    with pytest.raises(InputError, match="a file to write, got a folder"):
        check_output(tmp_path / "dir.tsv")
    with pytest.raises(InputError, match="an existing folder for the output, got none there"):
        check_output(tmp_path / "nowhere" / "out.tsv")
