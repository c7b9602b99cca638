import gzip
import io
from pathlib import Path

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.files import open_source
from protein_robust.ingest.records import Record, clean_sequence
from protein_robust.ingest.stockholm import read_stockholm

TWO_FAMILIES = b"""\
# STOCKHOLM 1.0
#=GF ID   first
#=GF AC   PF00001.2
#=GF CL   CL0001
#=GF AU   M\xfcller
#=GF SQ   2
#=GS A_HUMAN/1-4   AC P1.1

A_HUMAN/1-4        MK-V.a
#=GR A_HUMAN/1-4   SS  HHHHHH
B_MOUSE/3-6        .KTVw.
#=GC seq_cons      .K.V..
//
# STOCKHOLM 1.0
#=GF ID   second
#=GF AC   PF00002.1
C_YEAST/1-2        AC
//
"""


def records(text: bytes) -> list[Record]:
    return list(read_stockholm(io.BytesIO(text), "seed"))


def test_rows_are_read_with_family_clan_and_line() -> None:
    assert records(TWO_FAMILIES) == [
        Record("A_HUMAN/1-4", "MK-V.a", "PF00001.2", "first", "CL0001", None, "seed", 9),
        Record("B_MOUSE/3-6", ".KTVw.", "PF00001.2", "first", "CL0001", None, "seed", 11),
        Record("C_YEAST/1-2", "AC", "PF00002.1", "second", None, None, "seed", 17),
    ]


def test_windows_line_ends_change_nothing() -> None:
    assert records(TWO_FAMILIES.replace(b"\n", b"\r\n")) == records(TWO_FAMILIES)


def test_a_last_line_without_its_end_is_read() -> None:
    assert records(TWO_FAMILIES.rstrip()) == records(TWO_FAMILIES)


def test_gzip_of_two_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "seed.gz"
    first, second = TWO_FAMILIES[:200], TWO_FAMILIES[200:]
    path.write_bytes(gzip.compress(first) + gzip.compress(second))
    with open_source(path) as opened:
        assert list(read_stockholm(opened.stream, "seed")) == records(TWO_FAMILIES)


def test_biopython_reads_the_same_rows() -> None:
    from Bio import AlignIO

    text = io.StringIO(TWO_FAMILIES.decode("latin-1"))
    expected = [
        (row.id, str(row.seq).upper().replace("-", ""))
        for alignment in AlignIO.parse(text, "stockholm")
        for row in alignment
    ]
    ours = [(r.sequence_name, clean_sequence(r.residues)[0]) for r in records(TWO_FAMILIES)]
    assert ours == expected


BROKEN = {
    "no first line": (b"# STOCKHOLM 1.0\n", b"", 1, "Expected '# STOCKHOLM 1.0', got '#=GF ID"),
    "another version": (b"HOLM 1.0", b"HOLM 2.0", 1, "Expected '# STOCKHOLM 1.0', got '# STOCK"),
    "a stray line": (b"#=GR", b"--\n#=GR", 10, "Expected a row '<name> <aligned residues>', got"),
    "a third word": (b"MK-V.a", b"MK-V .a", 9, "Expected a row"),
    "no accession": (b"#=GF AC   PF00001.2\n", b"", 1, "Expected '#=GF AC' in each family, got n"),
    "an empty accession": (b"AC   PF00001.2", b"AC", 3, "Expected a value after '#=GF AC'"),
    "a second accession": (b"#=GF CL   ", b"#=GF AC   ", 4, "Expected one '#=GF AC' in each"),
    "a bare #=GF": (b"#=GF SQ   2", b"#=GF", 6, "Expected '#=GF <tag> <text>', got '#=GF'"),
    "unknown markup": (b"#=GF SQ", b"#=XX SQ", 6, "Expected '#=GF', '#=GS', '#=GC' or '#=GR'"),
    "unequal width": (b".KTVw.", b".KTVw", 11, "Expected rows of 6 columns.*got 5 in row 'B_MO"),
    "a repeated name": (b"B_MOUSE/3-6", b"A_HUMAN/1-4", 11, r"Expected one row .*line 9; rows mu"),
    "no rows": (b"C_YEAST/1-2        AC\n", b"", 14, "Expected rows in each family, got none"),
    "no // between": (b"//\n# ST", b"# ST", 13, r"Expected '//' before .* in line 1\), got '# S"),
    "no // at the end": (b"2        AC\n//\n", b"2        AC\n", 17, "got the end .* PF00002.1, b"),
}


@pytest.mark.parametrize(("old", "new", "line", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_reported_with_its_line(
    old: bytes, new: bytes, line: int, message: str
) -> None:
    with pytest.raises(InputError, match=f"^seed:{line}: .*{message}"):
        records(TWO_FAMILIES.replace(old, new, 1))


def test_binary_garbage_is_reported() -> None:
    with pytest.raises(InputError, match=r"^seed:1: Expected '# STOCKHOLM 1\.0', got '\\x00"):
        records(b"\x00\xff\xfe" * 50)
