import gzip
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.readers import stockholm, stockholm_record
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.readers.stockholm import read_stockholm
from protein_robust.ingest.records import BadRecords, Block, FamilyFacts, Skipped, clean_block

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))

TWO_FAMILIES = b"""\
# STOCKHOLM 1.0
#=GF ID   first
#=GF AC   PF00001.2
#=GF DE   One line of M\xfcller
#=GF AU   M\xfcller
#=GF GA   25.00 21.50;
#=GF TP   Domain
#=GF CL   CL0001
#=GF SQ   2
#=GS A_HUMAN/1-4   AC P1.1
#=GS B_MOUSE/3-6   DR PDB; 1abc A; 3-6;

A_HUMAN/1-4        MK-V.a
#=GR A_HUMAN/1-4   SS  HHHHHH
B_MOUSE/3-6        .KTVw.
#=GC seq_cons      .K.V..
//
# STOCKHOLM 1.0
#=GF ID   second
#=GF AC   PF00002.1
#=GF SQ   1
C_YEAST/1-2        AC
//
"""
FIRST = Block(
    path="seed",
    lines=[13, 15],
    names=["A_HUMAN/1-4", "B_MOUSE/3-6"],
    letters=[b"MK-V.a", b".KTVw."],
    families=["PF00001.2", "PF00001.2"],
    sequence_accessions=["P1.1", None],
    facts={
        "PF00001.2": FamilyFacts("first", "One line of Müller", "Domain", "CL0001", "25.00 21.50;")
    },
    is_aligned=True,
    is_whole=True,
)
SECOND = Block(
    path="seed",
    lines=[22],
    names=["C_YEAST/1-2"],
    letters=[b"AC"],
    families=["PF00002.1"],
    facts={"PF00002.1": FamilyFacts("second")},
    is_aligned=True,
    is_whole=True,
)

AS_PFAM_WRITES = b"""\
# STOCKHOLM 1.0
#=GF ID   third
#=GF AC   PF00003.9
#=GF RT   The 1.5 A structure
#=GF SQ   3
#=GS A_HUMAN/1-4    AC P1.1
#=GS B/3-6          AC A0A0A0AAA0.12
#=GS B/3-6          DR PDB; 1abc A; 3-6;
#=GS B/3-6          DR PDB; 2abc A; 3-6;
#=GS C_LONG/1-4     AC P3.1
A_HUMAN/1-4              MK-V.a
B/3-6                    .KTVw.
#=GR B/3-6          SS   HHHHHH
C_LONG/1-4               ......
#=GR C_LONG/1-4     SS   XXHHXX
#=GC SS_cons             HHHHHH
#=GC seq_cons            .K.V..
//
"""
THIRD = Block(
    path="seed",
    lines=[11, 12, 14],
    names=["A_HUMAN/1-4", "B/3-6", "C_LONG/1-4"],
    letters=[b"MK-V.a", b".KTVw.", b"......"],
    families=["PF00003.9"] * 3,
    sequence_accessions=["P1.1", "A0A0A0AAA0.12", "P3.1"],
    facts={"PF00003.9": FamilyFacts("third")},
    is_aligned=True,
    is_whole=True,
)


class Drip(io.BytesIO):
    """Gives so many bytes at once, and cannot be read twice; then perhaps an error."""

    def __init__(self, content: bytes, size: int, error: InputError | None = None) -> None:
        super().__init__(content)
        self.size = size
        self.error = error

    def read1(self, size: int | None = -1, /) -> bytes:
        piece = super().read1(self.size)
        if self.error is not None and not piece:
            raise self.error
        return piece

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")


def blocks(text: bytes, *, size: int = 1 << 20, bad: BadRecords | None = None) -> list[Block]:
    return plain(read_stockholm(Drip(text, size), "seed", bad=bad or BadRecords()))


def plain(found: Iterator[Block]) -> list[Block]:
    """Blocks whose lines are lists, so that they can be compared."""
    return [
        Block(**{**{f: getattr(block, f) for f in block.__slots__}, "lines": list(block.lines)})
        for block in found
    ]


def skipped(text: bytes) -> tuple[list[Block], list[Skipped]]:
    bad = BadRecords("skip")
    return blocks(text, bad=bad), bad.skipped


@pytest.fixture
def line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stockholm, "read_whole", lambda *_, **__: None)


def test_families_are_read_with_rows_facts_and_lines() -> None:
    assert blocks(TWO_FAMILIES) == [FIRST, SECOND]


def test_a_record_as_pfam_writes_it_is_read() -> None:
    assert blocks(AS_PFAM_WRITES) == [THIRD]


@pytest.mark.usefixtures("line_by_line")
def test_the_same_record_line_by_line_is_the_same() -> None:
    assert blocks(AS_PFAM_WRITES) == [THIRD]


def test_a_record_as_pfam_writes_it_is_not_read_line_by_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(stockholm_record.Record, "add")
    assert blocks(AS_PFAM_WRITES) == [THIRD]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 511])
@pytest.mark.parametrize("text", [TWO_FAMILIES, TWO_FAMILIES.replace(b"\n", b"\r\n")])
def test_it_does_not_matter_where_pieces_of_the_file_end(text: bytes, size: int) -> None:
    assert blocks(text, size=size) == [FIRST, SECOND]


def test_windows_line_ends_change_nothing() -> None:
    assert blocks(AS_PFAM_WRITES.replace(b"\n", b"\r\n")) == [THIRD]


@pytest.mark.parametrize("end", [b"", b"\r", b"\n\n\n", b" \n \n", b"  \t"])
def test_what_blanks_follow_the_last_line_does_not_matter(end: bytes) -> None:
    assert blocks(TWO_FAMILIES.rstrip() + end) == [FIRST, SECOND]


def test_blanks_behind_lines_do_not_matter() -> None:
    assert blocks(TWO_FAMILIES.replace(b"\n", b" \t\n")) == [FIRST, SECOND]


def test_a_mark_of_utf8_before_the_first_line_is_passed_over() -> None:
    assert blocks(b"\xef\xbb\xbf" + TWO_FAMILIES) == [FIRST, SECOND]


def test_utf8_is_read_as_such() -> None:
    text = TWO_FAMILIES.replace(b"M\xfcller", "Müller".encode())
    assert blocks(text) == [FIRST, SECOND]


@pytest.mark.parametrize("name", [b"A\xdf/1-4", "Aß/1-4".encode()], ids=["latin-1", "UTF-8"])
def test_names_may_have_any_letters(name: bytes) -> None:
    text = AS_PFAM_WRITES.replace(b"A_HUMAN/1-4", name)
    assert blocks(text)[0].names[0] == "Aß/1-4"


def test_comments_are_passed_over() -> None:
    text = TWO_FAMILIES.replace(b"#=GF SQ", b"# a comment\n#another\n#=GF SQ", 1)
    assert blocks(text)[0].letters == FIRST.letters


OTHER_LAYOUTS = {
    "another version": (b"1.0", b"1.1"),
    "unknown features": (b"#=GF RT", b"#=GF XY"),
    "markup without a tag": (b"#=GC seq_cons            .K.V..", b"#=GR A"),
    "unknown markup": (b"#=GC seq", b"#=GX seq"),
    "a comment between rows": (b"#=GR B", b"# GR B"),
    "a comment before rows": (b"#=GS C_LONG/1-4     AC P3.1", b"# no accession"),
    "an accession too few": (b"#=GS C_LONG/1-4     AC P3.1\n", b""),
    "an accession too many": (b"DR PDB; 2abc A; 3-6;", b"AC P4.1"),
    "an accession too many, elsewhere": (b"DR PDB; 2abc A; 3-6;", b"  AC P4.1"),
    "accessions in another order": (b"#=GS A_HUMAN/1-4    AC P1.1\n", b""),
    "no accession": (b"AC   PF00003.9", b"XX   PF00003.9"),
    "a wrong number": (b"SQ   3", b"SQ   4"),
    "another column": (b"B/3-6                    ", b"B/3-6 "),
    "a tab": (b"B/3-6                    ", b"B/3-6                   \t"),
    "a blank among letters": (b".KTVw.", b".KT w."),
    "a blank for a letter": (b".KTVw.", b" KTVw."),
    "a zero for a letter": (b".KTVw.", b".KTVw\0"),
    "a letter of UTF-8": (b"B/3-6    ", b"\xc3\x9f/3-6   "),
    "a name twice": (b"C_LONG/1-4               .", b"A_HUMAN/1-4              ."),
    "a line that is no end": (b"#=GC seq", b"/\n#=GC seq"),
    "a blank line": (b"#=GC seq", b"\n#=GC seq"),
    "no rows": (AS_PFAM_WRITES[AS_PFAM_WRITES.index(b"A_HUMAN/1-4      ") :], b"//\n"),
}


@pytest.mark.parametrize(("old", "new"), OTHER_LAYOUTS.values(), ids=OTHER_LAYOUTS.keys())
def test_whatever_a_record_looks_like_it_is_read_as_line_by_line(
    old: bytes, new: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old in AS_PFAM_WRITES
    text = AS_PFAM_WRITES.replace(old, new, 1)
    whole = skipped(text)
    monkeypatch.setattr(stockholm, "read_whole", lambda *_, **__: None)
    assert skipped(text) == whole


def test_markup_that_is_passed_over_may_be_of_rows_that_are_not_there() -> None:
    text = AS_PFAM_WRITES.replace(b"#=GR B/3-6 ", b"#=GR D/3-6 ")
    assert blocks(text.replace(b"#=GS B/3-6          DR", b"#=GS D/3-6          DR")) == [THIRD]


def test_a_family_needs_nothing_but_an_accession_and_a_row() -> None:
    (block,) = blocks(b"# STOCKHOLM 1.0\n#=GF AC X\na\tM\n//\n")
    assert (block.names, block.letters, block.facts) == (["a"], [b"M"], {"X": FamilyFacts()})


def test_a_file_without_a_family_gives_none() -> None:
    assert blocks(b"\n\n") == []


def test_gzip_of_two_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "seed.gz"
    first, second = TWO_FAMILIES[:200], TWO_FAMILIES[200:]
    path.write_bytes(gzip.compress(first) + gzip.compress(second))
    with open_source(path) as opened:
        found = read_stockholm(opened.stream, "seed", bad=BadRecords())
        assert plain(found) == [FIRST, SECOND]


def test_biopython_reads_the_same_rows() -> None:
    from Bio import AlignIO

    text = io.StringIO((TWO_FAMILIES + AS_PFAM_WRITES).decode("latin-1"))
    expected = [
        (row.id, str(row.seq))
        for alignment in AlignIO.parse(text, "stockholm")
        for row in alignment
    ]
    ours = [
        (name, letters.decode().replace(".", "-"))
        for block in blocks(TWO_FAMILIES + AS_PFAM_WRITES)
        for name, letters in zip(block.names, block.letters, strict=True)
    ]
    assert ours == expected


BROKEN = {
    "no first line": (b"# STOCKHOLM 1.0\n", b"", 1, "Expected '# STOCKHOLM 1.0', got '#=GF ID"),
    "another version": (b"HOLM 1.0", b"HOLM 2.0", 1, "Expected '# STOCKHOLM 1.0', got '# STOCK"),
    "a stray line": (b"#=GR", b"--\n#=GR", 14, "Expected a row '<name> <aligned residues>', got"),
    "a third word": (b"MK-V.a", b"MK-V .a", 13, "Expected a row .*, got 'A_HUMAN/1-4  .* .a'"),
    "one word": (b".KTVw.", b"", 15, "Expected a row .*, got 'B_MOUSE/3-6'"),
    "a name like markup": (b"B_MOUSE/3-6    ", b" #_MOUSE/3-6   ", 15, "Expected a row"),
    "no accession": (b"#=GF AC   PF00001.2\n", b"", 1, "Expected '#=GF AC' in each family, got n"),
    "an empty accession": (b"AC   PF00001.2", b"AC", 3, "Expected a value after '#=GF AC', got"),
    "an accession of two words": (b"PF00001.2", b"PF1 2", 3, "Expected one word after '#=GF AC'"),
    "a second accession": (
        b"#=GF CL   ",
        b"#=GF AC   ",
        8,
        r"Expected one '#=GF AC' in each family \(the first is line 3\), got '#=GF AC   CL0001'",
    ),
    "a second clan": (b"#=GF AU", b"#=GF CL", 8, r"Expected one '#=GF CL' in .* line 5\)"),
    "an empty description": (b"DE   One line of M\xfcller", b"DE ", 4, "a value after '#=GF DE'"),
    "a bare #=GF": (b"#=GF SQ   2", b"#=GF", 9, "Expected '#=GF <tag> <text>', got '#=GF'"),
    "a number that is none": (b"SQ   2", b"SQ   two", 9, "Expected a number after '#=GF SQ'"),
    "a huge number": (b"SQ   2", b"SQ   " + b"9" * 5000, 9, "Expected a number after '#=GF SQ'"),
    "too few rows": (b"SQ   2", b"SQ   3", 9, r"as many rows as '#=GF SQ' says \(3\), got 2 in PF"),
    "too many rows": (b"SQ   2", b"SQ   1", 9, r"many rows as '#=GF SQ' says \(1\), got 2 in PF"),
    "unknown markup": (b"#=GF SQ", b"#=XX SQ", 9, "Expected '#=GF', '#=GS', '#=GC' or '#=GR'"),
    "a bare #=GS": (b"#=GS A_HUMAN/1-4   AC P1.1", b"#=GS", 10, "Expected '#=GS <name> <tag>"),
    "an empty #=GS AC": (b"AC P1.1", b"AC", 10, "Expected an accession after '#=GS <name> AC'"),
    "two #=GS AC": (
        b"#=GS B_MOUSE/3-6   DR PDB; 1abc A; 3-6;",
        b"#=GS A_HUMAN/1-4   AC P1.2",
        11,
        "Expected one '#=GS <name> AC' for each row, got '#=GS A_HUMAN/1-4 AC P1.2'",
    ),
    "#=GS AC of no row": (b"#=GS A_H", b"#=GS C_H", 10, "of rows that are there, got 'C_HUMAN/1"),
    "a bare #=GR": (b"#=GR A_HUMAN/1-4   SS  HHHHHH", b"#=GR A", 14, "'#=GR <name> <tag> <text>'"),
    "unequal width": (b".KTVw.", b".KTVw", 15, "Expected rows of 6 columns.*got 5 in row 'B_MO"),
    "a repeated name": (
        b"B_MOUSE/3-6        ",
        b"A_HUMAN/1-4        ",
        15,
        r"Expected one row for each name \(not wrapped; the first is line 13\), got 'A_HUMAN",
    ),
    "no rows": (b"C_YEAST/1-2        AC\n", b"", 18, "Expected rows in each family, got none"),
    "no // between": (b"//\n# ST", b"# ST", 17, r"Expected '//' before .* line 1\), got '# S"),
    "no // at the end": (b"2        AC\n//\n", b"2        AC\n", 22, "got the end .* PF00002.1, b"),
    "the same accession again": (b"PF00002.1", b"PF00001.2", 18, "accession once in a file, got P"),
}
NAMELESS = ("no accession", "an empty accession", "an accession of two words")


@pytest.mark.parametrize(("old", "new", "line", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_reported_with_its_line(
    old: bytes, new: bytes, line: int, message: str
) -> None:
    assert old in TWO_FAMILIES
    with pytest.raises(InputError, match=f"^seed:{line}: .*{message}"):
        blocks(TWO_FAMILIES.replace(old, new, 1))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_is_passed_over_and_listed(name: str) -> None:
    old, new, line, message = BROKEN[name]
    found, (lost,) = skipped(TWO_FAMILIES.replace(old, new, 1))
    kept, accession = (FIRST, "PF00002.1") if line > 17 else (SECOND, "PF00001.2")
    if name == "the same accession again":
        accession = "PF00001.2"
    assert [block.names for block in found] == [kept.names]
    assert (lost.path, lost.line) == ("seed", line)
    assert lost.record == (None if name in NAMELESS else accession)
    assert re.search(message, lost.reason)


ROWS_LOST = {
    "a stray line": 2,
    "a third word": 2,
    "one word": 1,
    "unequal width": 2,
    "a repeated name": 1,
    "no first line": 2,
    "no rows": 0,
    "no // at the end": 1,
    "too few rows": 2,
}


@pytest.mark.parametrize(("name", "num_rows"), ROWS_LOST.items(), ids=ROWS_LOST.keys())
def test_the_rows_that_are_lost_are_counted(name: str, num_rows: int) -> None:
    old, new, _, _ = BROKEN[name]
    _, (lost,) = skipped(TWO_FAMILIES.replace(old, new, 1))
    assert lost.num_rows == num_rows


def test_illegal_letters_are_found_when_the_block_is_cleaned() -> None:
    bad = BadRecords("skip")
    (block,) = blocks(AS_PFAM_WRITES.replace(b"KTV", b"K1V"), bad=bad)
    assert clean_block(block, bad) is None
    assert bad.skipped[0].line == 12
    assert bad.skipped[0].num_rows == 3


def test_lines_between_records_are_one_broken_record() -> None:
    text = TWO_FAMILIES.replace(b"//\n", b"//\nstray words here\nC/1-3 MKV\n", 1)
    found, listed = skipped(text)
    assert [block.names for block in found] == [FIRST.names, SECOND.names]
    reason = "Expected '# STOCKHOLM 1.0', got 'stray words here'."
    assert listed == [Skipped("seed", 18, None, 2, reason)]


def test_a_second_end_is_a_broken_record_without_rows() -> None:
    found, listed = skipped(TWO_FAMILIES.replace(b"//\n", b"//\n//\n", 1))
    assert [block.names for block in found] == [FIRST.names, SECOND.names]
    assert listed == [Skipped("seed", 18, None, 0, "Expected '# STOCKHOLM 1.0', got '//'.")]


def test_of_two_records_with_one_accession_the_first_good_one_is_kept() -> None:
    broken = TWO_FAMILIES.replace(b"PF00002.1", b"PF00001.2").replace(b"SQ   2", b"SQ   9")
    found, listed = skipped(broken + AS_PFAM_WRITES.replace(b"PF00003.9", b"PF00001.2"))
    assert [block.names for block in found] == [SECOND.names]
    assert [lost.num_rows for lost in listed] == [2, 3]


def test_a_wrapped_alignment_is_refused_as_such() -> None:
    text = b"# STOCKHOLM 1.0\n#=GF AC X\na MK\nb VL\n\na MK\nb VL\n//\n"
    found, listed = skipped(text)
    assert found == []
    reason = "Expected one row for each name (not wrapped; the first is line 3), got 'a MK'."
    assert listed == [Skipped("seed", 6, "X", 2, reason)]


DAMAGE = InputError("a whole gzip file", "a damaged one", path="seed")


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_of_a_damaged_file_all_before_the_damage_is_read(size: int) -> None:
    bad = BadRecords("skip")
    stream = Drip(TWO_FAMILIES[:-3], size, DAMAGE)
    assert plain(read_stockholm(stream, "seed", bad=bad)) == [FIRST]
    reason = "Expected a whole gzip file, got a damaged one inside PF00002.1, begun in line 18."
    assert bad.skipped == [Skipped("seed", 22, "PF00002.1", 1, reason)]


def test_damage_between_records_is_listed_too() -> None:
    bad = BadRecords("skip")
    assert plain(read_stockholm(Drip(TWO_FAMILIES, 10, DAMAGE), "seed", bad=bad)) == [FIRST, SECOND]
    reason = "Expected a whole gzip file, got a damaged one."
    assert bad.skipped == [Skipped("seed", 23, None, 0, reason)]


def test_damage_is_an_error_unless_it_may_be_passed_over() -> None:
    with pytest.raises(
        InputError, match=r"^seed:23: Expected a whole gzip file, got a damaged one"
    ):
        plain(read_stockholm(Drip(TWO_FAMILIES, 10, DAMAGE), "seed", bad=BadRecords()))


def test_damage_at_the_very_beginning_has_no_line() -> None:
    with pytest.raises(InputError, match=r"^seed: Expected a whole gzip file, got a damaged one"):
        plain(read_stockholm(Drip(b"", 10, DAMAGE), "seed", bad=BadRecords()))


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small families are just within."""
    monkeypatch.setattr(stockholm, "MAX_LINE_BYTES", 60)
    monkeypatch.setattr(stockholm, "PENDING_BYTES", 8)
    monkeypatch.setattr(stockholm_record, "MAX_LINE_BYTES", 60)
    monkeypatch.setattr(stockholm_record, "MAX_RECORD_BYTES", 600)
    monkeypatch.setattr(stockholm_record, "MAX_RECORD_LINES", 20)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_records_within_the_limits_are_read(size: int) -> None:
    assert blocks(TWO_FAMILIES, size=size) == [FIRST, SECOND]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("size", [1, 10, 10_000])
@pytest.mark.parametrize(
    ("more", "line", "message", "num_rows"),
    [
        (b"D/1-2 " + b"A" * 500, 4, "lines of at most 60 bytes, got a longer one in X, begun", 2),
        (b"#=GF CC " + b"A" * 500, 4, "lines of at most 60 bytes, got a longer one in X", 1),
        (b"# comment\n" * 25, 22, "a family of at most 600 bytes and 20 lines, got more in X", 1),
        # The first 20 lines hold two names; beyond the limit each row is counted.
        (b"D/1-2 MK\n" * 70, 5, "one row for each name", 2 + 52),
        (b"# %s\n" % (50 * b"A") * 12, 14, "a family of at most 600 bytes", 1),
    ],
    ids=["long row", "long markup", "many lines", "many faulty lines", "many bytes"],
)
def test_a_record_beyond_the_limits_is_broken(
    more: bytes, line: int, message: str, num_rows: int, size: int
) -> None:
    text = b"# STOCKHOLM 1.0\n#=GF AC X\nC/1-2 MK\n" + more + b"\n//\n" + TWO_FAMILIES
    bad = BadRecords("skip")
    found = blocks(text, size=size, bad=bad)
    assert [block.names for block in found] == [FIRST.names, SECOND.names]
    (lost,) = bad.skipped
    assert (lost.record, lost.line, lost.num_rows) == ("X", line, num_rows)
    assert message in lost.reason


def real(name: str) -> Path:
    path = DATA / "stockholm" / name
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    return path


def read_real(name: str, bad: BadRecords) -> list[Block]:
    with open_source(real(name)) as opened:
        return plain(read_stockholm(opened.stream, name, bad=bad))


def biopython_rows(path: Path) -> list[tuple[str, str]]:
    from Bio import AlignIO

    with path.open(encoding="latin-1") as file:
        return [(r.id, str(r.seq)) for a in AlignIO.parse(file, "stockholm") for r in a]


REAL = {"Pfam-A.seed.union": (46, 2833), "pfam_37.4_Pfam-A.seed": (5, 417)}


@pytest.mark.parametrize(("name", "counts"), REAL.items(), ids=REAL.keys())
def test_real_files_are_read_as_biopython_reads_them(name: str, counts: tuple[int, int]) -> None:
    found = read_real(name, BadRecords())
    rows = [
        (row, letters.decode().replace(".", "-"))
        for block in found
        for row, letters in zip(block.names, block.letters, strict=True)
    ]
    assert (len(found), len(rows)) == counts
    assert rows == biopython_rows(real(name))
    assert all(None not in (block.sequence_accessions or [None]) for block in found)
    assert all(clean_block(block, BadRecords()) for block in found)


@pytest.mark.parametrize("name", REAL)
def test_real_records_are_the_same_whole_and_line_by_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_real(name, BadRecords())
    monkeypatch.setattr(stockholm, "read_whole", lambda *_, **__: None)
    assert read_real(name, BadRecords()) == whole


def test_records_of_a_real_release_are_all_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(stockholm_record.Record, "add")
    assert len(read_real("pfam_37.4_Pfam-A.seed", BadRecords())) == 5


def test_a_real_family_has_its_facts() -> None:
    block = read_real("pfam_37.4_Pfam-A.seed", BadRecords())[0]
    assert block.facts[block.families[0]] == FamilyFacts(
        family_id="AAA",
        description="ATPase family associated with various cellular activities (AAA)",
        family_type="Domain",
        clan="CL0023",
        gathering="21.20 21.20;",
    )


def test_a_real_excerpt_with_stray_lines_is_refused() -> None:
    with pytest.raises(InputError, match=r"24\.0_Pfam-A\.seed:104: Expected a row .*, got '--'"):
        read_real("pfam_24.0_Pfam-A.seed", BadRecords())


def test_of_a_real_excerpt_with_stray_lines_nothing_is_left_but_all_is_listed() -> None:
    bad = BadRecords("skip")
    name = "pfam_24.0_Pfam-A.seed"
    assert read_real(name, bad) == []
    reason = "Expected a row '<name> <aligned residues>', got '--'."
    # 95 + 76 rows: `awk 'NF == 2 && !/^#/'` counts 171.
    assert bad.skipped == [
        Skipped(name, 104, "PF00696.21", 95, reason),
        Skipped(name, 306, "PF01472.13", 76, reason),
    ]


def test_binary_garbage_is_reported() -> None:
    with pytest.raises(InputError, match=r"^seed:1: Expected '# STOCKHOLM 1\.0', got '\\x00"):
        blocks(b"\x00\xff\xfe" * 50)
