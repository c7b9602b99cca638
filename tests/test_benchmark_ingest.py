"""The benchmark of ingestion: its file has the shape that it says, and its jobs do the work."""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from Bio import AlignIO
from Bio.Align import MultipleSeqAlignment

from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.readers.stockholm import read_stockholm
from protein_robust.ingest.records import BadRecords, CleanBlock, clean_block

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = ("ingest", "ingest_jobs", "seed_alignment", "seed_file", "seed_markup", "turns")
NUM_FAMILIES = 150
OFFICIAL_ORDER = [
    "ID",
    "AC",
    "DE",
    "PI",
    "AU",
    "SE",
    "GA",
    "TC",
    "NC",
    "BM",
    "SM",
    "TP",
    "WK",
    "CL",
]
OFFICIAL_ORDER += ["DR", "CC", "SQ"]


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """Import the scripts as neighbours in their folder do, and forget them afterwards."""
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    try:
        yield {name: importlib.import_module(name) for name in SCRIPTS}
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(SCRIPTS) - known:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def seed_file(scripts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seed") / "small.seed"
    write(scripts["seed_file"], path)
    return path


def write(script: ModuleType, path: Path, *, zipped: bool = False, seed: int = 0) -> None:
    plan = script.make_plan(NUM_FAMILIES, mean=12, seed=seed)
    script.write(path, plan, seed=seed, zipped=zipped)


@pytest.fixture(scope="module")
def families(seed_file: Path) -> list[MultipleSeqAlignment]:
    """By Biopython."""
    return list(AlignIO.parse(seed_file, "stockholm"))


@pytest.fixture(scope="module")
def blocks(seed_file: Path) -> list[CleanBlock]:
    """By the package."""
    bad = BadRecords()
    with open_source(seed_file) as opened:
        every = read_stockholm(opened.stream, str(seed_file), bad=bad)
        cleaned = [clean_block(block, bad) for block in every]
    return [block for block in cleaned if block is not None]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_biopython_and_the_package_read_the_same(
    families: list[MultipleSeqAlignment], blocks: list[CleanBlock]
) -> None:
    # Biopython writes every gap as "-".
    theirs = [(row.id, str(row.seq)) for family in families for row in family]
    ours = [
        (name, letters.decode().replace(".", "-"))
        for clean in blocks
        for name, letters in zip(clean.block.names, clean.block.letters, strict=True)
    ]
    assert len(families) == NUM_FAMILIES
    assert ours == theirs


def test_coordinates_and_the_number_of_rows_are_right(
    seed_file: Path, blocks: list[CleanBlock]
) -> None:
    for clean in blocks:
        for name, sequence in zip(clean.block.names, clean.sequences, strict=True):
            start, end = map(int, name.rpartition("/")[2].split("-"))
            assert end - start + 1 == len(sequence)
    lines = seed_file.read_text(encoding="ascii").splitlines()
    sizes = [int(line.split()[2]) for line in lines if line.startswith("#=GF SQ")]
    assert sum(sizes) == sum(len(clean.sequences) for clean in blocks)


def test_features_are_in_the_official_order(seed_file: Path) -> None:
    for record in seed_file.read_text(encoding="ascii").split("//\n")[:-1]:
        tags = [line.split()[1] for line in record.splitlines() if line.startswith("#=GF")]
        # References, from RN to RL, come after CL and may repeat.
        outside = [tag for tag in tags if tag not in {"RN", "RM", "RT", "RA", "RL"}]
        assert outside == sorted(outside, key=OFFICIAL_ORDER.index)
        assert {"ID", "AC", "DE", "GA", "TP", "SQ"} <= set(tags)


def test_it_has_what_makes_real_files_hard(seed_file: Path, blocks: list[CleanBlock]) -> None:
    text = seed_file.read_text(encoding="ascii")
    assert "#=GS" in text
    for markup in (" DR PDB; ", "#=GC SS_cons", "#=GC seq_cons", "#=GR", "#=GF CL   CL"):
        assert markup in text
    letters = b"".join(row for clean in blocks for row in clean.block.letters)
    assert {*b"ACDEFGHIKLMNPQRSTVWYX.-"} <= set(letters)
    assert any(97 <= letter <= 122 for letter in set(letters))


def test_every_accession_and_name_is_there_once(blocks: list[CleanBlock]) -> None:
    names = [name for clean in blocks for name in clean.block.names]
    assert len(set(names)) == len(names)
    accessions = [a for clean in blocks for a in clean.block.sequence_accessions or ()]
    assert len(set(accessions)) == len(names)
    assert None not in accessions


def test_members_are_related_as_in_pfam(blocks: list[CleanBlock]) -> None:
    identities = []
    for clean in blocks:
        rows = np.stack([np.frombuffer(row.upper(), np.uint8) for row in clean.block.letters])
        lengths = (rows > ord("-")).sum(axis=1) - (rows == ord(".")).sum(axis=1)
        equal = (rows[:, None] == rows) & (rows >= ord("A"))
        shares = equal.sum(axis=2) / np.minimum.outer(lengths, lengths)
        identities.append(shares[np.triu_indices(len(rows), 1)])
    means = [shares.mean() for shares in identities if len(shares)]
    assert np.median(means) == pytest.approx(0.36, abs=0.06)
    assert min(map(np.min, (shares for shares in identities if len(shares)))) < 0.1


def test_sizes_are_those_of_pfam(scripts: dict[str, ModuleType]) -> None:
    plan = scripts["seed_file"].make_plan(19_632)
    counts = [(plan.rows <= size).sum() for size in (1, 2, 9, 20)]
    # Of Pfam 35, as are the totals below.
    assert counts == pytest.approx([738, 1784, 5837, 9227], rel=0.01)
    assert (np.median(plan.rows), plan.rows.max()) == (23, pytest.approx(3938, abs=2))
    assert plan.rows.sum() == pytest.approx(1_236_587, rel=0.01)
    assert (plan.rows * plan.lengths).sum() == pytest.approx(192_466_640, rel=0.01)
    assert (plan.rows * plan.widths).sum() == pytest.approx(346_448_427, rel=0.01)


def test_repeated_and_conflicting_sequences_are_put_in(scripts: dict[str, ModuleType]) -> None:
    script = scripts["seed_alignment"]
    rng = np.random.default_rng(0)
    layout = script.make_layout(100, 160, rng=rng)
    ancestor = script.LETTER_OF_BYTE[script.draw_bytes(rng, 160)]
    cells = script.draw_cells(layout, 3000, ancestor=ancestor, rng=rng)
    assert len(np.unique(cells, axis=0)) == 3000
    donor = np.full(90, ord("W"), np.uint8)
    script.spoil(cells, layout, donors=[donor], rng=rng)
    # 0.2 % and 0.02 % of 3,000, each within 5 standard deviations of a Poisson number.
    assert 3000 - len(np.unique(cells, axis=0)) == pytest.approx(6, abs=12)
    assert 0 <= (cells[:, :90] == donor).all(axis=1).sum() <= 5


def test_the_seed_alone_decides(
    scripts: dict[str, ModuleType], seed_file: Path, tmp_path: Path
) -> None:
    write(scripts["seed_file"], tmp_path / "again.seed")
    write(scripts["seed_file"], tmp_path / "other.seed", seed=1)
    assert (tmp_path / "again.seed").read_bytes() == seed_file.read_bytes()
    assert (tmp_path / "other.seed").read_bytes() != seed_file.read_bytes()


def test_compressed_it_is_the_same_in_many_members(
    scripts: dict[str, ModuleType],
    seed_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scripts["seed_file"], "MEMBER_BYTES", 100_000)
    path = tmp_path / "small.seed.gz"
    write(scripts["seed_file"], path, zipped=True)
    content = path.read_bytes()
    assert gzip.decompress(content) == seed_file.read_bytes()
    assert content.count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00") > 2


@pytest.mark.slow
def test_the_command_prints_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "few.seed"
    done = run("seed_file.py", str(path), "--families", "30", "--sequences-mean", "5")
    assert done.returncode == 0, done.stderr
    assert "families: 30 (" in done.stdout
    assert f"bytes of text: {path.stat().st_size:,}" in done.stdout
    refused = run("seed_file.py", str(path), "--families", "1")
    assert refused.returncode == 2
    assert "--families of at least 2" in refused.stderr


@pytest.mark.slow
def test_the_readers_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("pyhmmer", reason="pip install 'protein-robust[hmm]'")
    small = ["--reader-families", "30", "--rounds", "2", "--warmup", "0", "--json"]
    done = run("ingest.py", "--part", "reader", "--folder", str(tmp_path), *small)
    assert done.returncode == 0, done.stderr
    rows, residues = json.loads(done.stdout)["tables"].values()
    assert {row["reader"]: row["target"] for row in rows}["AlignIO"] == "at least 10"
    assert next(row["reader"] for row in residues) == "ours, residues"
    for row in rows + residues:
        assert row["CPU s"] > 0
        assert int(row["peak MB"]) > 10
    assert rows[0]["times ours"] == residues[0]["times ours"] == 1


def test_readers_that_disagree_are_reported(
    scripts: dict[str, ModuleType], seed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"ours": 5, "AlignIO": 4}
    monkeypatch.setattr(scripts["ingest"], "run_job", lambda name, _: {"rows": counts[name]})
    options = argparse.Namespace(rounds=1, warmup=0)
    with pytest.raises(RuntimeError, match=r"the readers disagree: .*'rows': 4"):
        scripts["ingest"].measure_readers(options, seed_file, dict.fromkeys(counts, ""))


@pytest.mark.slow
def test_a_release_is_ingested_given_noise_and_opened(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    small = ["--families", "40", "--json"]
    chosen = ["--part", "release", "--part", "linear", "--gzip"]
    done = run("ingest.py", *chosen, "--folder", str(tmp_path), *small)
    assert done.returncode == 0, done.stderr
    release, linear = json.loads(done.stdout)["tables"].values()
    assert [row["job"] for row in release] == list(scripts["ingest"].RELEASE_TARGETS)
    assert all(row["wall s"] > 0 for row in release)
    assert [row["families"] for row in linear] == [4, 12, 40]
    assert linear[-1]["wall s"] == release[0]["wall s"]  # not done twice
    assert (tmp_path / "40_families_seed_0.seed.gz").exists()


@pytest.mark.slow
def test_memory_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    np.ones(50_000_000)  # 400 MB here, which the child must not count
    code = """
import json, ingest_jobs
print(json.dumps(ingest_jobs.measure(lambda: {"rows": len(b"x" * 100_000_000)})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    measured = json.loads(done.stdout)
    assert measured["rows"] == 100_000_000
    assert 100_000_000 <= measured["peak_bytes"] < 200_000_000
    assert 0 < measured["wall_seconds"] < 60
    assert 0 <= measured["cpu_seconds"] < 60


@pytest.mark.slow
def test_a_number_too_small_is_refused() -> None:
    done = run("ingest.py", "--families", "5")
    assert done.returncode == 2
    assert "at least 20 --families" in done.stderr
