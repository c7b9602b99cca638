"""What may happen to an ingest: killed, raced, out of disk, fed with anything."""

import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest import (
    IngestOptions,
    Source,
    ingest,
    is_current,
    read_manifest,
    read_sequences,
)
from protein_robust.ingest.digest import ContentDigest
from protein_robust.ingest.store import FILES, is_complete

ROOT = Path(__file__).parents[2]
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["protein_robust.ingest", "pytest", "pandas"])  # what takes long


def write_seed(path: Path, num_families: int, *, size: int = 20, seed: int = 0) -> Source:
    """A Stockholm file of random residues, which hardly compress."""
    dice = random.Random(seed)
    with path.open("w") as file:
        for family in range(num_families):
            file.write(f"# STOCKHOLM 1.0\n#=GF AC   PF{family:05d}.1\n")
            for row in range(size):
                file.write(
                    f"s{seed}_{family}_{row}/1-120 {''.join(dice.choices(LETTERS, k=120))}\n"
                )
            file.write("//\n")
    return Source(path)


def digest_of(folder: Path) -> str:
    """Of the content as it is, not as the manifest has it."""
    both = ""
    for name in ("sequences.parquet", "families.parquet"):
        digest = ContentDigest()
        digest.add(pq.read_table(folder / name))
        both += digest.hexdigest()
    return hashlib.sha256(both.encode()).hexdigest()


def whole_digest(folder: Path) -> str:
    """The digest of a folder, which must be a whole dataset."""
    manifest = read_manifest(folder)
    assert is_complete(folder, manifest)
    files = {path.name for path in folder.iterdir()}
    assert files == {"manifest.json", *manifest["files"]}
    digest = digest_of(folder)
    assert digest == manifest["digest"]
    return digest


def beside(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir() if path != output)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, str]:
    """A source that is read at once, and its digest."""
    folder = tmp_path_factory.mktemp("small")
    source = write_seed(folder / "small.seed", 3, seed=1)
    return source, str(ingest([source], folder / "out")["digest"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, str]:
    """A source that takes the better part of a second, and its digest."""
    folder = tmp_path_factory.mktemp("large")
    source = write_seed(folder / "large.seed", 2000, seed=2)
    return source, str(ingest([source], folder / "out")["digest"])


@pytest.mark.slow
def test_a_killed_ingest_leaves_the_old_or_the_new_dataset(
    tmp_path: Path, small: tuple[Source, str], large: tuple[Source, str]
) -> None:
    out, dice = tmp_path / "out", random.Random(5)
    durations = []
    for _ in range(2):  # the first one also starts what the others are forked from
        begin = time.monotonic()
        process = FORK.Process(target=ingest, args=([large[0]], out))
        process.start()
        process.join()
        durations.append(time.monotonic() - begin)
        assert (process.exitcode, whole_digest(out)) == (0, large[1])
    codes: list[int | None] = []
    while codes.count(-9) < 20 and len(codes) < 60:
        ingest([small[0]], out)
        assert (beside(out), whole_digest(out)) == ([], small[1])
        process = FORK.Process(target=ingest, args=([large[0]], out))
        process.start()
        delay = dice.uniform(0, min(durations))
        time.sleep(delay)
        process.kill()
        process.join()
        codes.append(process.exitcode)
        if process.exitcode == 0:  # it was faster than those before
            durations.append(delay)
        if out.exists():  # it is not for the moment between two renames
            assert whole_digest(out) in (small[1], large[1])
    assert codes.count(-9) >= 20
    ingest([small[0]], out)
    assert (beside(out), whole_digest(out)) == ([], small[1])


@pytest.mark.slow
def test_two_ingests_at_once_leave_one_of_the_two(
    tmp_path: Path, small: tuple[Source, str]
) -> None:
    out = tmp_path / "out"
    other = write_seed(tmp_path / "other.seed", 3, seed=9)
    expected = {small[1], str(ingest([other], tmp_path / "alone")["digest"])}
    shutil.rmtree(tmp_path / "alone")
    for _ in range(8):
        processes = [
            FORK.Process(target=ingest, args=([source], out))
            for source in (small[0], other, small[0], other)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4
        assert whole_digest(out) in expected
        assert beside(out) == ["other.seed"]


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond this; Python ignores the signal, so that writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_nothing_can_be_written_the_old_dataset_stays(
    tmp_path: Path, small: tuple[Source, str]
) -> None:
    source = write_seed(tmp_path / "a.seed", 30)
    out = tmp_path / "out"
    ingest([small[0]], out)
    outcomes = []
    # From nothing at all to enough: another file is the first that cannot be written each time.
    for limit in (0, 100, 1000, 3000, 10_000, 40_000, 60_000, 72_001, 100_000, 1_000_000):
        try:
            with largest_file(limit):
                ingest([source], out)
        except InputError as error:
            assert str(error) == f"{out}: Expected a folder to write, got File too large."  # noqa: PT017
            outcomes.append(False)
            assert whole_digest(out) == small[1]
        else:
            outcomes.append(True)
            assert whole_digest(out) != small[1]
        assert beside(out) == ["a.seed"]
    assert outcomes == sorted(outcomes)
    assert outcomes[0] < outcomes[-1]


FULL = """
import resource, sys
from protein_robust.pipeline import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
sys.exit(main(["ingest", sys.argv[1], "--output", sys.argv[2]]))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    source = write_seed(tmp_path / "a.seed", 30)
    command = [sys.executable, "-c", FULL, str(source.path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "out: Expected a folder to write, got File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.seed"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk: {error}")
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_dataset(
    disk: Path, tmp_path: Path, small: tuple[Source, str]
) -> None:
    source = write_seed(tmp_path / "a.seed", 60)  # about 150 kB of names, sequences and rows each
    out = disk / "out"
    ingest([small[0]], out)
    outcomes = []
    for free in range(0, 800_000, 40_000):
        filler = disk / "filler"
        left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler.write_bytes(b"x" * (left - free))
        try:
            ingest([source], out)
        except InputError as error:
            message = f"{out}: Expected a folder to write, got No space left on device."
            assert str(error) == message  # noqa: PT017
            outcomes.append(False)
            assert whole_digest(out) == small[1]
        else:
            outcomes.append(True)
            filler.unlink()
            ingest([small[0]], out)
        assert set(beside(out)) <= {"filler"}
        filler.unlink(missing_ok=True)
    assert outcomes == sorted(outcomes)
    assert outcomes[0] < outcomes[-1]


ODD = [
    "../../x", "/etc/passwd", "..", ".", "a/../../b", "~", "C:\\x", "con", "-rf", "$(touch x)",
    "`touch x`", "%00", "\u202egnp.exe", "\ufeffx", "e\u0301", "é", "\U0001f9ec" * 60, "x" * 300,
    "file:///etc/passwd", "\x7f", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("format_", ["table", "seed", "fasta"])
def test_names_never_become_paths(tmp_path: Path, format_: str) -> None:
    tails = [letter + other for letter in LETTERS for other in LETTERS[:12]]
    found = [(f"{name}#{i}", name, tails[i % 12] + tails[k]) for k, name in enumerate(ODD)
             for i in range(12)]  # fmt: skip
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    path = tmp_path / "deep" / "deeper" / f"a.{'csv' if format_ == 'table' else format_}"
    options = (
        IngestOptions(label_pattern=r"^(?P<name>.*)\|(?P<family>.*)$")
        if format_ == "fasta"
        else None
    )
    if format_ == "table":
        text = "name\tfamily\tsequence\n" + "".join("\t".join(row) + "\n" for row in found)
    elif format_ == "fasta":
        text = "".join(f">{name}|{family}\n{letters}\n" for name, family, letters in found)
    else:
        text = "".join(
            f"# STOCKHOLM 1.0\n#=GF AC   {family}\n"
            + "".join(f"{name} {letters}\n" for name, other, letters in found if other == family)
            + "//\n"
            for family in ODD
            if " " not in family
        )
    path.write_text(text)
    out = tmp_path / "deep" / "out"
    manifest = ingest([Source(path)], out, options=options or IngestOptions())
    files = {str(place.relative_to(tmp_path)) for place in tmp_path.rglob("*") if place.is_file()}
    expected = {f"deep/out/{name}" for name in (*manifest["files"], "manifest.json")}
    assert files == {str(path.relative_to(tmp_path)), *expected}
    assert set(manifest["files"]) <= set(FILES)
    families = read_sequences(out)["family_accession"].to_pylist()
    skipped = {name for name in ODD if " " in name and format_ == "seed"}
    assert {name.strip() for name in ODD if name not in skipped} == set(families)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "x/../../x"])
def test_a_dataset_whose_manifest_names_other_places_is_not_current(
    tmp_path: Path, small: tuple[Source, str], name: str
) -> None:
    out = tmp_path / "out"
    manifest = ingest([small[0]], out)
    assert is_current(out, [small[0]])
    (tmp_path / "x").touch()
    size = Path(name).stat().st_size if Path(name).is_file() else 0
    manifest["files"][name] = size
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert not is_current(out, [small[0]])


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "dataset", "schema_version": 2}',
        '{"kind": "dataset", "schema_version": 2, "files": ["sequences.parquet"]}',
        '{"kind": "dataset", "schema_version": 2, "files": {"sequences.parquet": 1}}',
        "{",
        "",
    ],
)
def test_a_dataset_with_a_broken_manifest_is_not_current(
    tmp_path: Path, small: tuple[Source, str], text: str
) -> None:
    ingest([small[0]], tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(text)
    assert not is_current(tmp_path / "out", [small[0]])


@pytest.mark.parametrize("place", ["source", "clans", "labels", "output"])
def test_a_path_that_is_no_text_is_refused(
    tmp_path: Path, small: tuple[Source, str], place: str
) -> None:
    odd = tmp_path / "a\udcff.seed"
    shutil.copy(small[0].path, odd)
    if place == "labels":
        odd.write_text("name,family\na,F1\n")
    options = {
        "clans": IngestOptions(clans=str(odd)),
        "labels": IngestOptions(labels=str(odd)),
    }.get(place, IngestOptions())
    source = Source(odd) if place == "source" else small[0]
    out = tmp_path / ("b\udcff" if place == "output" else "out")
    with pytest.raises(InputError, match=r"Expected a path that is UTF-8 text, got '.*\\udcff"):
        ingest([source], out, options=options)
    assert list(tmp_path.iterdir()) == [odd]
    assert not is_current(out, [source], options=options)


SEEDS = {
    "a.csv": b"name,family,sequence,split\n"
    + b"".join(
        b"n%d,F%d,M%s,%s\n" % (i, i % 2, b"A" * i, [b"train", b"dev", b"test"][i % 3])
        for i in range(12)
    ),
    "a.seed": b"".join(
        b"# STOCKHOLM 1.0\n#=GF AC   PF%d.1\n#=GF CL   CL1\n" % k
        + b"".join(b"n%d/1-3 M%s%s\n" % (i, b"CD"[k : k + 1], LETTERS[i : i + 1].encode())
                   for i in range(12))
        + b"//\n"
        for k in range(2)
    ),
    "a.fasta": b"".join(
        b">n%d F%d %s\nM%s\n" % (i, i % 2, [b"train", b"test"][i % 3 == 0], b"A" * i)
        for i in range(12)
    ),
}  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good file in which some pieces are replaced by others."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    content = SEEDS[name]
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.sampled_from([0, 1, 7, 60])))
        pieces = st.one_of(st.binary(max_size=4), st.sampled_from(
            [b"\n", b"\r\n", b"//\n", b"# STOCKHOLM 1.0\n", b",", b'"', b">", b"\0", b"\xff",
             b"*", b"\t", b"#=GF AC   PF0.1\n", b"-" * 9]
        ))  # fmt: skip
        content = content[:begin] + draw(pieces) + content[end:]
    return name, content


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(case=damaged(), policy=st.sampled_from(["error", "skip"]), compress=st.booleans())
def test_any_file_gives_a_dataset_or_a_clear_error(
    case: tuple[str, bytes], policy: str, compress: bool
) -> None:
    name, content = case
    if compress:
        name, content = name + ".zst", bytes(pa.Codec("zstd").compress(content, asbytes=True))
    pattern = r"(?P<family>F\d) (?P<split>\S+)" if "fasta" in name else None
    options = IngestOptions(on_bad_record=policy, label_pattern=pattern)
    with TemporaryDirectory() as folder:
        path, out = Path(folder, name), Path(folder, "out")
        path.write_bytes(content)
        try:
            manifest = ingest([Source(path)], out, options=options)
        except InputError as error:
            assert str(error).count("Expected ") >= 1  # noqa: PT017
            assert beside(out) == [name]
            assert not out.exists()
            return
        whole_digest(out)
        assert manifest["verification"]["passed"]
        assert beside(out) == [name]
        assert policy == "skip" or manifest["skipped"]["records"] == 0


MEASURED = """
import resource, sys
import protein_robust.ingest as ingest
if len(sys.argv) > 1:
    ingest.ingest([ingest.Source(sys.argv[1])], sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mb(*arguments: Path) -> float:
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return int(done.stdout) / unit


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    seed, out = tmp_path / "Pfam-A.seed", tmp_path / "out"
    generator = ROOT / "benchmarks" / "seed_file.py"
    command = [sys.executable, str(generator), str(seed), "--families", "2300"]
    subprocess.run(command, check=True, capture_output=True)
    assert 50e6 < seed.stat().st_size < 80e6
    # Measured: 131, 197 and 242 MB for files of 10, 58 and 233 MB.
    assert peak_mb(seed, out) - peak_mb() < 280
    assert read_manifest(out)["verification"]["passed"]
