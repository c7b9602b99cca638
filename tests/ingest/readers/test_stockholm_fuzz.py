"""Stockholm text that nobody wrote by hand: generated, and then broken."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.readers import stockholm
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.readers.stockholm import read_stockholm
from protein_robust.ingest.records import BadRecords, Block, CorruptError, FamilyFacts, clean_block

LETTERS = "ACDEFGHIKLMNPQRSTVWYBJOUXZacdefghiklmnpqrstvwybjouxz.-"
WORD_BYTES = [byte for byte in range(0x21, 0x100) if not chr(byte).isspace()]
OFTEN = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Family:
    """What is written, and what must be read."""

    accession: bytes
    features: list[tuple[bytes, bytes]]
    names: list[bytes]
    letters: list[bytes]
    accessions: dict[bytes, bytes]
    lines: list[bytes]

    def rows(self) -> list[tuple[str, bytes]]:
        return [(decoded(n), row) for n, row in zip(self.names, self.letters, strict=True)]


def decoded(word: bytes) -> str:
    """The rule of the format: UTF-8 where it is, else latin-1."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        return word.decode("latin-1")


odd_words = st.lists(st.sampled_from(WORD_BYTES), min_size=1, max_size=12).map(bytes)
words = st.text("ABC012_/-.", min_size=1, max_size=12).map(str.encode) | odd_words
odd_names = words.filter(lambda word: not word.startswith((b"#", b"//")))
plain_names = st.from_regex(r"[A-C0-2]{1,4}(_HUMAN)?/[1-9]-[1-9]", fullmatch=True).map(str.encode)
texts = st.lists(words, min_size=1, max_size=3).map(b" ".join)


@st.composite
def features(draw: st.DrawFn, accession: bytes, num_rows: int) -> list[tuple[bytes, bytes]]:
    """What ``#=GF`` lines say."""
    found = [(b"AC", accession)]
    found += [
        (tag, draw(texts)) for tag in (b"ID", b"DE", b"TP", b"CL", b"GA") if draw(st.booleans())
    ]
    found += [(b"SQ", b"%d" % num_rows)] * draw(st.integers(0, 1))
    found += [(b"CC", draw(texts)) for _ in range(draw(st.integers(0, 2)))]
    return draw(st.permutations(found))


@st.composite
def families(draw: st.DrawFn, number: int) -> Family:
    """An alignment, and one of the many ways to write it."""
    is_plain = draw(st.booleans())  # as Pfam writes it
    width = draw(st.integers(1, 9))
    name = plain_names if is_plain else odd_names
    row_names = draw(st.lists(name, min_size=1, max_size=5, unique=True))
    row = st.text(LETTERS, min_size=width, max_size=width).map(str.encode)
    letters = [draw(row) for _ in row_names]
    accession = b"PF%05d.%d" % (number * 11111, number)
    found = draw(features(accession, len(row_names)))
    some = row_names if is_plain else draw(st.lists(st.sampled_from(row_names), unique=True))
    accessions = {name: draw(words) for name in some}
    column = max(map(len, row_names)) + 1 if is_plain or draw(st.booleans()) else 0
    lines = [b"# STOCKHOLM 1.0"]
    lines += [b"#=GF %s   %s" % feature for feature in found]
    for name, text in accessions.items():
        lines.append(b"#=GS %s AC %s" % (name.ljust(column), text))
        lines += [b"#=GS %s DR %s" % (name.ljust(column), draw(texts))] * draw(st.integers(0, 2))
    for name, aligned in zip(row_names, letters, strict=True):
        lines.append(name.ljust(column + 8 if column else len(name) + 1) + aligned)
        lines += [b"#=GR %s SS %s" % (name.ljust(column), b"H" * width)] * draw(st.integers(0, 1))
    lines += [b"#=GC seq_cons %s" % (b"." * width)] * draw(st.integers(0, 2))
    if not is_plain:
        for extra in draw(st.lists(st.sampled_from([b"", b"# comment", b"#"]), max_size=2)):
            lines.insert(draw(st.integers(1, len(lines))), extra)
    lines.append(b"//")
    return Family(accession, found, row_names, letters, accessions, lines)


@st.composite
def seeds(draw: st.DrawFn, most: int = 4) -> list[Family]:
    return [draw(families(number)) for number in range(1, draw(st.integers(1, most)) + 1)]


class Drip(io.BytesIO):
    """Gives at most so many bytes at once."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self.size = size

    def read1(self, _: int | None = -1, /) -> bytes:
        return super().read1(self.size)


def written(seed: list[Family], line_end: bytes = b"\n") -> bytes:
    return b"".join(line + line_end for family in seed for line in family.lines)


def read(text: bytes, bad: BadRecords, *, size: int = 1 << 20) -> list[Block]:
    return list(read_stockholm(Drip(text, size), "seed", bad=bad))


def rows_of(block: Block) -> list[tuple[str, bytes]]:
    return list(zip(block.names, block.letters, strict=True))


@OFTEN
@given(
    seed=seeds(),
    line_end=st.sampled_from([b"\n", b"\r\n"]),
    size=st.integers(1, 200),
    pending=st.integers(1, 300),
    ends=st.booleans(),
)
def test_what_is_written_is_read(
    seed: list[Family], line_end: bytes, size: int, pending: int, ends: bool
) -> None:
    text = written(seed, line_end)
    if not ends:
        text = text.removesuffix(line_end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stockholm, "PENDING_BYTES", pending)
        found = read(text, BadRecords(), size=size)
    file_lines = text.split(line_end)
    for block, family in zip(found, seed, strict=True):
        accession = decoded(family.accession)
        values = {tag: decoded(value) for tag, value in family.features}
        assert rows_of(block) == family.rows()
        assert block.families == [accession] * len(family.names)
        assert block.facts == {
            accession: FamilyFacts(
                *(values.get(tag) for tag in (b"ID", b"DE", b"TP", b"CL", b"GA"))
            )
        }
        accessions = [family.accessions.get(name) for name in family.names]
        expected = [None if text is None else decoded(text) for text in accessions]
        assert (block.sequence_accessions or [None] * len(expected)) == expected
        assert [file_lines[line - 1].split()[0] for line in block.lines] == family.names


@OFTEN
@given(seed=seeds(), line_end=st.sampled_from([b"\n", b"\r\n"]))
def test_biopython_reads_the_same_wherever_it_reads(seed: list[Family], line_end: bytes) -> None:
    from Bio import AlignIO

    text = written(seed, line_end)
    try:
        parsed = list(AlignIO.parse(io.StringIO(text.decode("latin-1")), "stockholm"))
    except (ValueError, AssertionError):
        assume(False)
    # Biopython makes one kind of gap of both, and knows no UTF-8 here.
    expected = [[(row.id, str(row.seq)) for row in alignment] for alignment in parsed]
    found = read(text, BadRecords())
    assert [len(block.names) for block in found] == [len(rows) for rows in expected]
    for family, block, rows in zip(seed, found, expected, strict=True):
        assert [name.decode("latin-1") for name in family.names] == [name for name, _ in rows]
        letters = [letters.replace(b".", b"-").decode() for letters in block.letters]
        assert letters == [row for _, row in rows]


@OFTEN
@given(seed=seeds())
def test_whole_records_are_as_those_line_by_line(seed: list[Family]) -> None:
    text = written(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stockholm, "read_whole", lambda *_, **__: None)
        slow = read(text, BadRecords())
    assert comparable(read(text, BadRecords())) == comparable(slow)


def comparable(blocks: list[Block]) -> list[list[object]]:
    return [
        [list(block.lines), rows_of(block), block.families, block.sequence_accessions, block.facts]
        for block in blocks
    ]


@st.composite
def mutated(draw: st.DrawFn, text: bytes) -> bytes:
    """A text with some bytes deleted, put in or changed, or without its end."""
    content = bytearray(text)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["delete", "insert", "flip", "cut", "double", "line"]))
        if kind == "delete":
            del content[start : start + draw(st.integers(1, 40))]
        elif kind == "insert":
            content[start:start] = draw(st.binary(min_size=1, max_size=20))
        elif kind == "flip" and start < len(content):
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del content[start:]
        elif kind == "double":
            content[start:start] = content[start : start + draw(st.integers(1, 60))]
        elif kind == "line":
            strays = [b"\n--\n", b"\n//\n", b"\n# STOCKHOLM 1.0\n", b"\n\n", b" ", b"\r", b"\0"]
            content[start:start] = draw(st.sampled_from(strays))
    return bytes(content)


@st.composite
def broken_seeds(draw: st.DrawFn) -> tuple[list[Family], bytes]:
    seed = draw(seeds())
    return seed, draw(mutated(written(seed, draw(st.sampled_from([b"\n", b"\r\n"])))))


def intact(seed: list[Family], text: bytes) -> Iterator[Family]:
    """The families all of whose lines are still there, one behind the other."""
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    for family in seed:
        size = len(family.lines)
        if any(lines[i : i + size] == family.lines for i in range(len(lines) - size + 1)):
            yield family


def check_that_all_is_accounted_for(
    found: list[Block], bad: BadRecords, *, seed: list[Family], text: bytes
) -> None:
    """Every intact record is read, or listed; what is neither was broken, and is listed."""
    read_rows = {block.families[0]: rows_of(block) for block in found}
    listed = [skipped.record for skipped in bad.skipped]
    families = list(intact(seed, text))
    for family in families:
        accession = decoded(family.accession)
        if read_rows.get(accession) != family.rows():
            # A record before has got the same accession, and is not merged with this one.
            assert accession in listed
            assert any(s.num_rows == len(family.names) for s in bad.skipped)
    num_rows = sum(len(block.names) for block in found) + sum(s.num_rows for s in bad.skipped)
    assert num_rows >= sum(len(family.names) for family in families)
    assert all(s.path == "seed" and s.line and s.reason for s in bad.skipped)
    assert len(read_rows) == len(found)


@OFTEN
@given(broken=broken_seeds(), size=st.integers(1, 300))
def test_of_a_broken_file_each_intact_record_is_read(
    broken: tuple[list[Family], bytes], size: int
) -> None:
    seed, text = broken
    bad = BadRecords("skip")
    found = read(text, bad, size=size)
    check_that_all_is_accounted_for(found, bad, seed=seed, text=text)
    for block in found:
        clean_block(block, bad)


@OFTEN
@given(broken=broken_seeds())
def test_a_broken_file_is_the_same_whole_and_line_by_line(
    broken: tuple[list[Family], bytes],
) -> None:
    _, text = broken
    whole, lines = BadRecords("skip"), BadRecords("skip")
    found = read(text, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stockholm, "read_whole", lambda *_, **__: None)
        slow = read(text, lines, size=17)
    assert comparable(found) == comparable(slow)
    assert whole.skipped == lines.skipped


@OFTEN
@given(broken=broken_seeds())
def test_a_broken_file_is_an_error_exactly_if_something_would_be_passed_over(
    broken: tuple[list[Family], bytes],
) -> None:
    _, text = broken
    bad = BadRecords("skip")
    expected = comparable(read(text, bad))
    if not bad.skipped:
        assert comparable(read(text, BadRecords())) == expected
        return
    first = bad.skipped[0]
    with pytest.raises(InputError) as caught:
        read(text, BadRecords())
    assert (caught.value.path, caught.value.line) == (first.path, first.line)
    assert str(caught.value).endswith(first.reason)


@OFTEN
@given(text=st.binary(max_size=300), header=st.booleans())
def test_any_bytes_give_blocks_or_a_list_of_what_is_broken(text: bytes, header: bool) -> None:
    bad = BadRecords("skip")
    found = read((b"# STOCKHOLM 1.0\n#=GF AC X\n" if header else b"") + text, bad)
    assert all(rows_of(block) for block in found)
    assert found or bad.skipped or not text.strip(b"\n \t\r\v\f\xef\xbb\xbf")


@st.composite
def damaged(draw: st.DrawFn, packed: bytes) -> bytes:
    kind = draw(st.sampled_from(["cut", "flip", "append"]))
    start = draw(st.integers(1, len(packed) - 1))
    if kind == "cut":
        return packed[:start]
    if kind == "append":
        return packed + draw(st.binary(min_size=1, max_size=20))
    return packed[:start] + bytes([packed[start] ^ draw(st.integers(1, 255))]) + packed[start + 1 :]


@OFTEN
@given(seed=seeds(), data=st.data())
def test_a_damaged_gzip_gives_blocks_or_an_error(
    seed: list[Family], data: st.DataObject, tmp_path: Path
) -> None:
    members = [gzip.compress(written([family]), mtime=0) for family in seed]
    path = tmp_path / "seed.gz"
    path.write_bytes(data.draw(damaged(b"".join(members))))
    for policy in ("error", "skip"):
        bad = BadRecords(policy)
        found: list[Block] = []
        try:
            with open_source(path) as opened:
                for block in read_stockholm(opened.stream, "seed", bad=bad):
                    found.append(block)
        except InputError as error:
            # What may be passed over is: only a file of which nothing can be read, or that
            # cannot be trusted, is an error.
            assert policy == "error" or "seed.gz" in str(error)  # noqa: PT017
            assert policy == "error" or not found or isinstance(error, CorruptError)  # noqa: PT017


@OFTEN
@given(seed=seeds(), data=st.data())
def test_of_a_truncated_gzip_all_whole_records_are_read(
    seed: list[Family], data: st.DataObject, tmp_path: Path
) -> None:
    packed = gzip.compress(written(seed), compresslevel=1, mtime=0)
    packed = packed[: data.draw(st.integers(1, len(packed) - 1))]
    there = zlib.decompressobj(wbits=31).decompress(packed)
    path = tmp_path / "seed.gz"
    path.write_bytes(packed)
    bad = BadRecords("skip")
    if not there:
        with pytest.raises(InputError, match=r"damaged|first bytes"), open_source(path):
            pass
        return
    with open_source(path) as opened:
        found = list(read_stockholm(opened.stream, "seed", bad=bad))
    assert [rows_of(block) for block in found] == [f.rows() for f in intact(seed, there)]
    assert "got a damaged one (it ends too early)" in bad.skipped[-1].reason
    check_that_all_is_accounted_for(found, bad, seed=seed, text=there)
