import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.options import PRESETS
from protein_robust.ingest.readers.headers import NO_LABELS, header_rule, parse_header, read_labels
from protein_robust.ingest.records import UNLABELLED


def write(path: Path, text: str = "name,family\na,F1\nb,F2\nc,\n") -> Path:
    path.write_text(text)
    return path


def test_without_a_rule_the_first_word_is_an_unlabelled_name() -> None:
    header = "sp|P12345|AATM_RABIT Aspartate aminotransferase OS=Oryctolagus"
    assert parse_header(header, NO_LABELS) == ("sp|P12345|AATM_RABIT", UNLABELLED, "")


def test_a_pattern_gives_family_name_and_split() -> None:
    rule = header_rule(pattern=r"^(?P<split>\w+):(?P<name>\w+) .*\b(?P<family>PF\d+)")
    assert parse_header("dev:P1 text PF00001 x", rule) == ("P1", "PF00001", "dev")


def test_a_pattern_is_searched_and_the_name_is_the_first_word() -> None:
    rule = header_rule(pattern=r"\[(?P<family>.*?)\]")
    assert parse_header("P1 of [ F 1 ] and [F2]", rule) == ("P1", "F 1", "")


def test_what_is_unknown_is_unlabelled() -> None:
    rule = header_rule(pattern=r" (?P<family>\w+)", unknown="none")
    assert parse_header("P1 none", rule) == ("P1", UNLABELLED, "")


def test_a_family_that_may_be_missing_is_unlabelled_where_it_is_asked_for() -> None:
    pattern = r"^\w+( (?P<family>\w+))?"
    assert parse_header("P1", header_rule(pattern=pattern, unknown="")) == ("P1", UNLABELLED, "")
    with pytest.raises(InputError, match="a family for each name in each header, got none for 'P1"):
        parse_header("P1", header_rule(pattern=pattern))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Q9H400 Cell.membrane-M test", ("Q9H400", "M", "test")),
        ("Q9H400 Cytoplasm-Nucleus-U", ("Q9H400", UNLABELLED, "")),
        ("A Lysosome/Vacuole-S", ("A", "S", "")),
    ],
)
def test_deeploc_headers_are_read(header: str, expected: tuple[str, str, str]) -> None:
    assert parse_header(header, header_rule(preset="deeploc")) == expected


@pytest.mark.parametrize("header", ["Q9H400", "Q9H400 Nucleus-X", "Q9H400 Nucleus-M train"])
def test_another_header_is_no_deeploc_header(header: str) -> None:
    with pytest.raises(InputError, match=r"^a:3: Expected a header that matches .*, got 'Q9H400"):
        parse_header(header, header_rule(preset="deeploc"), path="a", line=3)


def test_every_preset_makes_a_rule() -> None:
    assert all(header_rule(preset=preset).pattern for preset in PRESETS)


@pytest.mark.parametrize(
    ("header", "pattern", "message"),
    [
        ("", ".(?P<family>.)", "^a:3: Expected a name after '>', got an empty header"),
        ("P1", r"(?P<name> *)(?P<family>.)", "^a:3: Expected a name in each header, got 'P1'"),
        ("P1 F", r"(?P<family>F)(?P<split>.*)$", None),
        ("P1 F fold", r"(?P<family>F)(?P<split>.*)$", "^a:3: Expected a split, one of .*'fold'"),
    ],
)
def test_a_header_without_what_it_needs_is_reported(
    header: str, pattern: str, message: str | None
) -> None:
    rule = header_rule(pattern=pattern)
    if message is None:
        assert parse_header(header, rule, path="a", line=3) == ("P1", "F", "")
    else:
        with pytest.raises(InputError, match=message):
            parse_header(header, rule, path="a", line=3)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a(b", r"Expected a regular expression, got 'a\(b': missing \), .* at character 2\."),
        ("a{99999999999}", "Expected a regular expression, got .*repetition number is too large"),
        ("(" * 5_000, r"Expected a regular expression, got '\(\(\("),
        (r"(?P<name>\w+)", r"a regular expression with a group \(\?P<family>\.\.\.\), got"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        header_rule(pattern=pattern)


def test_a_preset_is_known_and_alone() -> None:
    with pytest.raises(InputError, match="Expected a preset, one of deeploc, got 'loc'"):
        header_rule(preset="loc")
    with pytest.raises(InputError, match="a preset without `label_pattern` or `labels`, got both"):
        header_rule(preset="deeploc", pattern="(?P<family>.)")


def test_a_table_gives_families_and_counts_what_is_not_used(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", "name,family\na,F1\nb,F2\nd,?\ne,F1\n")
    rule = header_rule(labels=path, unknown="?")
    assert rule.labels is not None
    assert parse_header("b some text", rule) == ("b", "F2", "")
    assert parse_header("d", rule) == ("d", UNLABELLED, "")
    assert rule.labels.num_unused == 2
    assert rule.labels.unused(5) == ["a", "e"]
    assert rule.labels.unused(1) == ["a"]


@pytest.mark.parametrize("name", ["c", "z"], ids=["empty cell", "no entry"])
def test_a_name_without_a_family_is_bad_unless_that_means_unknown(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / "labels.csv")
    with pytest.raises(InputError, match=rf"each name in .*labels\.csv, got none for '{name}'"):
        parse_header(name, header_rule(labels=path))
    assert parse_header(name, header_rule(labels=path, unknown=""))[1] == UNLABELLED


def test_a_pattern_beside_a_table_gives_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", "name,family\nP12345,F1\n")
    rule = header_rule(labels=path, pattern=r"\|(?P<name>\w+)\|")
    assert parse_header("sp|P12345|AATM_RABIT text", rule) == ("P12345", "F1", "")
    with pytest.raises(InputError, match="family from `label_pattern` or from `labels`, got both"):
        header_rule(labels=path, pattern="(?P<name>.)(?P<family>.)")


@pytest.mark.parametrize("form", ["csv", "tsv.gz", "parquet"])
def test_tables_of_all_forms_are_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"labels.{form}"
    if form == "csv":
        path.write_text("x,label,id\n1,F1,a\n2,F2,b\n")
    elif form == "parquet":
        pq.write_table(pa.table({"id": ["a", "b"], "label": ["F1", "F2"], "x": [1, 2]}), path)
    else:
        path.write_bytes(gzip.compress(b"id\tlabel\na\tF1\nb\tF2\na\tF1\n"))
    assert read_labels(path).families == {"a": "F1", "b": "F2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,family\na,F1\na,F2\n", r"csv:3: Expected one family for 'a' \('F1' before\), got "),
        ("name,family\n ,F1\n", r"csv:2: Expected a name, got an empty cell"),
        ("name,family\na\n", r"csv:2: Expected 2 cells, as in the header, got 1"),
        ("name,family\n", r"csv: Expected rows below the header, got none"),
        ("name,class\na,b\n", r"csv: Expected a family column \('family_accession' or .*, got col"),
        ("a,F1\n", r"csv: Expected a name column \('sequence_name' or .*, got columns 'a', 'F1'"),
    ],
)  # fmt: skip
def test_a_broken_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(write(tmp_path / "labels.csv", text))
