import gzip
import io
import os
from collections import Counter
from pathlib import Path

import pytest
from Bio import SeqIO
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.readers import fasta
from protein_robust.ingest.readers.fasta import NO_LABELS, HeaderRule, header_rule, read_fasta
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.records import UNLABELLED, BadRecords, Block, FamilyFacts

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))
FAMILY = header_rule(pattern=r"\[(?P<family>\w+)\]( (?P<split>\w+))?")
DEEPLOC = header_rule(preset="deeploc")
TWO = b">a one\nMKV\nLA\n>b two\nmk-*\n"


class Pipe(io.BytesIO):
    """Bytes that come in pieces and cannot be read twice."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")


def blocks(
    content: bytes, rule: HeaderRule = NO_LABELS, bad: BadRecords | None = None
) -> list[Block]:
    return list(read_fasta(Pipe(content), "a.fa", rule=rule, bad=bad or BadRecords()))


def rows(content: bytes, bad: BadRecords | None = None) -> list[tuple[int, str, bytes]]:
    return [
        row
        for block in blocks(content, bad=bad)
        for row in zip(block.lines, block.names, block.letters, strict=True)
    ]


def test_records_are_read_as_they_stand() -> None:
    assert blocks(TWO) == [
        Block(
            path="a.fa",
            lines=[1, 4],
            names=["a", "b"],
            letters=[b"MKVLA", b"mk-*"],
            families=[UNLABELLED, UNLABELLED],
        )
    ]


@pytest.mark.parametrize(
    "content",
    [
        TWO.replace(b"\n", b"\r\n"),
        TWO.rstrip(b"\n"),
        b"\xef\xbb\xbf" + TWO,
        TWO.replace(b"V\nL", b"VL"),
        TWO.replace(b"MKV", b"  M K\tV "),
        TWO.replace(b">a", b">  a"),
    ],
    ids=["windows", "no last end", "mark", "one line", "white space", "space before name"],
)
def test_other_spellings_change_nothing(content: bytes) -> None:
    assert [row[1:] for row in rows(content)] == [("a", b"MKVLA"), ("b", b"mk-*")]


def test_comments_and_blank_lines_count_as_lines_only() -> None:
    content = b"; made by hand\n\n>a\n;comment\nMK\n\n;more\nV\n\n>b\nML\n"
    assert rows(content) == [(3, "a", b"MKV"), (10, "b", b"ML")]


def test_a_sign_inside_a_line_begins_no_record() -> None:
    assert rows(b">a>b >c\nM>K\n") == [(1, "a>b", b"M>K")]


def test_a_pattern_gives_families_and_splits() -> None:
    (block,) = blocks(b">a [F1] dev\nMK\n>b [F2]\nML\n", FAMILY)
    assert block.families == ["F1", "F2"]
    assert block.splits == ["dev", ""]
    (block,) = blocks(b">a [F1]\nMK\n>b [F2]\nML\n", FAMILY)
    assert block.splits is None


def test_a_preset_says_what_its_families_are() -> None:
    (block,) = blocks(b">a Nucleus-U\nMK\n>b Cell.membrane-M\nML\n", DEEPLOC)
    assert block.families == [UNLABELLED, "M"]
    assert block.facts == {"M": FamilyFacts(description="membrane")}


def test_a_header_in_latin_1_is_read() -> None:
    assert rows(">Müller\nMK\n".encode("latin-1")) == rows(">Müller\nMK\n".encode())


def test_a_gzip_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(TWO[:9]) + gzip.compress(TWO[9:]))
    with open_source(tmp_path / "a.fa.gz") as opened:
        (block,) = read_fasta(opened.stream, "a.fa", bad=BadRecords())
    assert block == blocks(TWO)[0]


BAD = {
    "text before": (b"MKV\n" + TWO, 1, "Expected '>' before the first sequence, got 'MKV'", 2),
    "an old header": (b"\n;ok\nold\n" + TWO, 3, "Expected '>' before the first seq.*got 'old'", 2),
    "no header at all": (b"\n\nMKV\nMKL\n", 3, "Expected '>' before the first seq.*got 'MKV'", 0),
    "an empty header": (TWO + b">\nMK\n", 6, "Expected a name after '>', got an empty header", 2),
    "a blank header": (TWO + b">  \nMK\n", 6, "Expected a name after '>', got an empty header", 2),
    "no residues": (b">x y\n" + TWO, 1, "Expected residues below each header, got none for 'x'", 2),
    "no residues at the end": (TWO + b">x", 6, "Expected residues below .*, got none for 'x'", 2),
    "a comment for residues": (TWO + b">x\n;MK\n", 6, "Expected residues below each header", 2),
    "a name twice": (TWO + b">a\nMK\n", 6, "Expected another name than .* before, got 'a'", 2),
}


@pytest.mark.parametrize(("content", "line", "message", "num_good"), BAD.values(), ids=BAD.keys())
def test_a_bad_record_is_refused_or_passed_over(
    content: bytes, line: int, message: str, num_good: int
) -> None:
    with pytest.raises(InputError, match=rf"^a\.fa:{line}: {message}"):
        rows(content)
    bad = BadRecords("skip")
    assert len(rows(content, bad)) == num_good
    assert [entry.line for entry in bad.skipped] == [line]


def test_a_header_that_breaks_the_rule_is_passed_over_by_name() -> None:
    bad = BadRecords("skip")
    (block,) = blocks(b">a [F1]\nMK\n>b F2\nML\n>c [F1] fold\nMV\n", FAMILY, bad)
    assert block.names == ["a"]
    assert [(entry.line, entry.record) for entry in bad.skipped] == [(3, "b"), (5, "c")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"; only a comment\n"])
def test_a_file_without_records_is_refused_whatever_the_policy(content: bytes) -> None:
    for policy in ("error", "skip"):
        with pytest.raises(InputError, match=r"^a\.fa: Expected at least one record .*, got none"):
            rows(content, BadRecords(policy))


def test_names_are_compared_over_the_whole_file() -> None:
    names = [f"n{number % 9_000}" for number in range(20_000)]
    bad = BadRecords("skip")
    found = rows("".join(f">{name}\nMK\n" for name in names).encode(), bad)
    assert [name for _, name, _ in found] == names[:9_000]
    assert [entry.line for entry in bad.skipped] == list(range(18_001, 40_001, 2))


def test_many_records_come_in_blocks() -> None:
    found = blocks(b"".join(b">%d\nMK\n" % number for number in range(10_000)))
    assert sum(len(block.names) for block in found) == 10_000
    assert max(len(block.names) for block in found) < 10_000


def test_a_record_that_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(fasta, "_CHUNK_BYTES", 40)
    assert len(rows(TWO + b">c\n" + b"MK\n" * 20)) == 3
    with pytest.raises(InputError, match=r"^a\.fa:6: Expected records of at most 100 bytes, got a"):
        rows(TWO + b">c\n" + b"MK\n" * 60, BadRecords("skip"))


def test_records_before_a_damage_of_the_file_are_not_lost(tmp_path: Path) -> None:
    content = b"".join(b">%d\nMK%s\n" % (n, b"ACDEFGHIKL"[n % 7 :]) for n in range(50_000))
    packed = gzip.compress(content)
    (tmp_path / "a.fa.gz").write_bytes(packed[: len(packed) // 2])
    found: list[str] = []

    def read() -> None:
        with open_source(tmp_path / "a.fa.gz") as opened:
            for block in read_fasta(opened.stream, "a.fa", bad=BadRecords("skip")):
                found.extend(block.names)

    with pytest.raises(InputError, match=r"a\.fa\.gz: Expected a whole gzip"):
        read()
    assert found == [str(number) for number in range(len(found))]
    assert len(found) > 20_000


TITLE = st.text("aé Ω\t|>;", max_size=12)
RECORDS = st.lists(
    st.tuples(st.text("abcP|01_", min_size=1, max_size=4), TITLE, st.text("ACmk-*", min_size=1)),
    min_size=1,
    max_size=8,
    unique_by=lambda record: record[0],
)


@given(RECORDS, st.integers(1, 9), st.sampled_from(["\n", "\r\n"]), st.integers(1, 12))
def test_what_is_written_is_read(
    records: list[tuple[str, str, str]], width: int, end: str, chunk: int
) -> None:
    text = "".join(
        f">{name} {title}{end}"
        + "".join(residues[i : i + width] + end for i in range(0, len(residues), width))
        for name, title, residues in records
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_CHUNK_BYTES", chunk)
        found = rows(text.encode())
    assert [row[1:] for row in found] == [
        (name, residues.encode()) for name, _, residues in records
    ]
    file_lines = text.split(end)
    assert [file_lines[line - 1].split(" ")[0] for line, *_ in found] == [
        f">{name}" for name, _, _ in records
    ]


@given(st.lists(st.sampled_from([">", "a", "b c", "MK", " ", "\n", "\n>", "x"]), max_size=40))
def test_biopython_reads_the_same_wherever_it_accepts_the_file(pieces: list[str]) -> None:
    text = "".join(pieces)
    bad = BadRecords("skip")
    try:
        found = rows(text.encode(), bad)
    except InputError:
        assert not list(SimpleFastaParser(io.StringIO(text)))
        return
    expected: dict[str, bytes] = {}
    for title, residues in SimpleFastaParser(io.StringIO(text)):
        name = title.split(None, 1)[0] if title.strip() else ""
        if name and residues:
            expected.setdefault(name, residues.encode())
    assert {name: letters for _, name, letters in found} == expected
    num_titles = len(list(SimpleFastaParser(io.StringIO(text))))
    has_text_before = bool(text.split("\n>")[0].strip()) and not text.startswith(">")
    assert len(found) + len(bad.skipped) == num_titles + has_text_before


@settings(max_examples=300)
@given(st.binary(max_size=120), st.sampled_from(["error", "skip"]))
def test_any_bytes_give_rows_or_a_clear_error(content: bytes, policy: str) -> None:
    for head in (b"", b">a\n", b"\x00>"):
        bad = BadRecords(policy)
        try:
            found = rows(head + content, bad)
        except InputError:
            continue
        assert found or bad.skipped


@pytest.mark.parametrize(
    ("name", "counts", "splits"),
    [
        ("our_val", {"M": 426, "S": 595, UNLABELLED: 657}, None),
        ("test", {"M": 743, "S": 1_003, UNLABELLED: 1_022}, {"test"}),
    ],
)
def test_real_deeploc_files_are_read_whole(
    name: str, counts: dict[str, int], splits: set[str] | None
) -> None:
    path = DATA / "deeploc" / f"deeploc_{name}_set.fasta"
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    with path.open("rb") as stream:
        (block,) = read_fasta(stream, str(path), rule=DEEPLOC, bad=BadRecords())
    assert Counter(block.families) == counts
    assert (None if block.splits is None else set(block.splits)) == splits
    with path.open() as text:
        expected = [(record.id, bytes(record.seq)) for record in SeqIO.parse(text, "fasta")]
    assert list(zip(block.names, block.letters, strict=True)) == expected
