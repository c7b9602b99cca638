import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from protein_robust.ingest import IngestOptions, Source, ingest
from protein_robust.ingest.card import data_card

LETTERS = "ACDEFGHIKLMN"
SECTIONS = [
    "# Data card: out",
    "## Sources",
    "## Options",
    "## Splits",
    "## Families",
    "## Sequences",
    "## Not kept",
    "## Conflicting labels",
    "## Digest",
]


def card_and_manifest(
    tmp_path: Path, text: str, name: str = "a.csv", **options: Any
) -> tuple[str, dict[str, Any]]:
    (tmp_path / name).write_text(text)
    manifest = ingest([Source(tmp_path / name)], tmp_path / "out", options=IngestOptions(**options))
    return (tmp_path / "out" / "data_card.md").read_text(), manifest


def table(*extra: str, size: int = 12) -> str:
    lines = [f"n{i}/1-{i + 2},F{k},m{'A' * i}{LETTERS[k]}*" for k in range(4) for i in range(size)]
    return "\n".join(["name,family,sequence", *lines, *extra])


def seed() -> str:
    """Families of two clusters each: twelve rows, and two that are like each other only."""
    return "".join(
        f"# STOCKHOLM 1.0\n#=GF AC   PF0000{k}.1\n"
        + "".join(f"r{i}/1-9   {'MKVLWWW' + LETTERS[i] + LETTERS[k]}\n" for i in range(12))
        + "".join(f"s{i}/1-9   {'YYTTHPP' + 'IL'[i] + LETTERS[k]}\n" for i in range(2))
        + "//\n"
        for k in range(3)
    )


def tables_of(card: str) -> list[list[list[str]]]:
    """Header and rows of each Markdown table; a line that does not fit is an error."""
    found: list[list[list[str]]] = []
    inside: list[list[str]] = []
    for line in [*card.splitlines(), ""]:
        if line.startswith("|"):
            assert line.endswith(" |")
            inside.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif inside:
            header, rule, *rows = inside
            assert set(rule) == {"---"}
            assert {len(row) for row in inside} == {len(header)}
            found.append([header, *rows])
            inside = []
    return found


def figures(content: Any) -> list[float]:
    """All numbers in a nested content."""
    if isinstance(content, dict):
        return [number for value in content.values() for number in figures(value)]
    if isinstance(content, list):
        return [number for value in content for number in figures(value)]
    return [content] if isinstance(content, int | float) and not isinstance(content, bool) else []


def numbers_in(card: str) -> set[float]:
    return {float(text.replace(",", "")) for text in re.findall(r"-?\d[\d,]*(?:\.\d+)?", card)}


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": ("a.csv", table(), {}),
    "conflicts": ("a.csv", table("x,F0,WYXB-", "y,F1,WYXB"), {}),
    "conflicts dropped": ("a.csv", table("x,F0,WYX-", "y,F1,WYX"), {"conflicts": "drop"}),
    "outside": (
        "a.csv",
        table("u,?,WWWW", "v,?,WWWWW", "w,F3,mA*", "y,F0,mAA*"),
        {"unknown": "?", "hold_out_families": ("F3",)},
    ),
    "skipped": ("a.csv", table("bad|x,F0,M1", "worse,F0,"), {"on_bad_record": "skip"}),
    "drawn": ("a.csv", table(), {"num_families": 2, "seed": 7, "valid_fraction": 0.25}),
    "clustered": ("a.seed", seed(), {"split": "clustered", "test_fraction": 0.2}),
}


@pytest.mark.parametrize(("name", "text", "options"), CASES.values(), ids=CASES.keys())
def test_every_figure_of_the_manifest_is_in_the_card(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    card, manifest = card_and_manifest(tmp_path, text, name, **options)
    left_out = {"schema_version", "files", "options"}  # the files are not all there yet
    said = numbers_in(card)
    for key, content in manifest.items():
        for number in figures({} if key in left_out else content):
            rounded = {number, float(f"{number:.1f}"), float(f"{number:.4f}")}
            # What is 0 may be said in words.
            assert number == 0 or rounded & said, (key, number)
    for option, value in options.items():
        shown = list(value) if isinstance(value, tuple) else value
        assert f"- `{option}`: {shown}" in card


@pytest.mark.parametrize(("name", "text", "options"), CASES.values(), ids=CASES.keys())
def test_the_sections_are_always_the_same(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    card, _ = card_and_manifest(tmp_path, text, name, **options)
    assert [line for line in card.splitlines() if line.startswith("#")] == SECTIONS
    assert card.endswith("\n")
    assert "\n\n\n" not in card


@pytest.mark.parametrize(("name", "text", "options"), CASES.values(), ids=CASES.keys())
def test_the_tables_are_markdown_tables(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    card, manifest = card_and_manifest(tmp_path, text, name, **options)
    found: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for lines in tables_of(card):
        assert len(lines) <= 12  # MLflow's page shows no more rows of one table
        found[tuple(lines[0])] += lines[1:]
    assert found["check", "found"] == [
        [check, str(number)] for check, number in manifest["verification"]["checks"].items()
    ]
    assert found["training sequences", "families"] == [
        [group, str(number)] for group, number in manifest["family_sizes"].items()
    ]
    (source,) = manifest["sources"]
    ((path, num_bytes, split, sha256),) = found["file", "bytes", "split", "SHA-256"]
    assert (path, split, sha256) == (source["path"], "", source["sha256"])
    assert num_bytes == f"{source['num_bytes']:,}"
    assert dict(found["what", "value"])["families"].startswith(str(manifest["counts"]["families"]))


def test_conflicts_that_were_dropped_are_not_denied(tmp_path: Path) -> None:
    kept, _ = card_and_manifest(tmp_path, *reversed(CASES["conflicts"][:2]))
    assert "\n1 of the sequences read stand in several families, in 2 rows, all in" in kept
    assert "`conflicts.parquet`; 2 of these rows are kept. Of the labels" in kept
    dropped, _ = card_and_manifest(
        tmp_path, *reversed(CASES["conflicts dropped"][:2]), conflicts="drop"
    )
    assert "0 of these rows are kept. 2 were dropped for that reason." in dropped
    assert "No sequence stands in two families." not in dropped
    none, _ = card_and_manifest(tmp_path, table())
    assert "No sequence stands in two families." in none


def test_skipped_records_are_listed_with_their_place(tmp_path: Path) -> None:
    card, manifest = card_and_manifest(tmp_path, table("x,F0,M1"), on_bad_record="skip")
    assert f"- `{tmp_path / 'a.csv'}:50` x: Expected residue letters of" in card
    manifest["skipped"] = {
        "records": 1,
        "rows": 0,
        "first": [
            {"path": "a.gz", "line": None, "record": None, "num_rows": 0, "reason": "Whole file."}
        ],
    }
    assert "\n- `a.gz` : Whole file.\n" in data_card(manifest)


def test_names_with_line_ends_and_bars_break_nothing(tmp_path: Path) -> None:
    text = table('"a|b\n# c",F0,M1').replace("name,", "name,", 1)
    card, manifest = card_and_manifest(tmp_path, text, "p|q.csv", on_bad_record="skip")
    assert "a|b # c: Expected residue letters" in card
    assert f"| {tmp_path}/p\\|q.csv |" in card
    assert [line for line in card.splitlines() if line.startswith("#")] == SECTIONS
    manifest["sources"][0]["path"] = "one\ntwo"
    tables_of(data_card(manifest))


def test_files_that_options_name_are_sources(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "name,family\n" + "".join(f"s{i},F{i % 2}\n" for i in range(30))
    )
    fasta = "".join(f">s{i}\nM{'A' * i}\n" for i in range(26))
    card, manifest = card_and_manifest(tmp_path, fasta, "a.fa", labels=str(tmp_path / "labels.csv"))
    assert manifest["unused_labels"] == 4
    assert "4 names of the table of labels stand in no source." in card
    helper = manifest["helpers"]["labels"]
    row = f"| {helper['path']} (labels) | {helper['num_bytes']} |  | {helper['sha256']} |"
    assert row in card
