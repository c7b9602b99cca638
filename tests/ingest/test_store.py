import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest import read_conflicts, read_heldout_families
from protein_robust.ingest.digest import ContentDigest
from protein_robust.ingest.staging import staging
from protein_robust.ingest.store import (
    CONFLICTS,
    CONFLICTS_SCHEMA,
    FAMILIES,
    FAMILIES_SCHEMA,
    FILES,
    HELD_OUT,
    HELD_OUT_SCHEMA,
    IMAGE_FILES,
    SEQUENCES,
    SEQUENCES_SCHEMA,
    files_of,
    is_complete,
    read_families,
    read_manifest,
    read_sequences,
    table_writer,
    write_manifest,
    write_table,
)


def tables(name: str = "a") -> dict[str, pa.Table]:
    sequences = [
        [name, "b", "c/4-5"],
        ["A.1", None, None],
        [None, None, 4],
        [None, None, 5],
        ["MK", "ML", "MV"],
        ["F1", "F2", None],
        [0, 1, -1],
        ["train", "test", "unlabelled"],
    ]
    facts = [["one", None], ["d", None], [None, "Domain"], [None, "C1"], ["25.0", None]]
    families = [["F1", "F2"], *facts, [1, 0], [0, 0], [0, 1]]
    return {
        SEQUENCES: pa.table(sequences, schema=SEQUENCES_SCHEMA),
        FAMILIES: pa.table(families, schema=FAMILIES_SCHEMA),
    }


def write_dataset(output: Path, content: dict[str, pa.Table], **manifest: Any) -> dict[str, Any]:
    with staging(output) as staged:
        for name, table in content.items():
            write_table(staged.folder, name, table)
        whole = write_manifest(staged.folder, manifest, name=output.name)
        staged.put()
    return whole


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "mine", tables(), is_synthetic=False)
    return tmp_path / "mine"


def digest_of(*pieces: pa.Table) -> str:
    digest = ContentDigest()
    for piece in pieces:
        digest.add(piece)
    return digest.hexdigest()


def test_what_is_written_is_read(dataset: Path) -> None:
    assert read_sequences(dataset).equals(tables()[SEQUENCES])
    assert read_families(dataset).equals(tables()[FAMILIES])
    manifest = read_manifest(dataset)
    assert (manifest["kind"], manifest["name"], manifest["schema_version"]) == (
        "dataset",
        "mine",
        3,
    )
    assert manifest["is_synthetic"] is False


def test_the_manifest_lists_all_other_files(dataset: Path) -> None:
    files = {path.name: path.stat().st_size for path in dataset.iterdir()}
    del files["manifest.json"]
    assert read_manifest(dataset)["files"] == files
    assert list(files) != []


def test_a_split_is_read_alone(dataset: Path) -> None:
    assert read_sequences(dataset, "test")["sequence"].to_pylist() == ["ML"]
    assert read_sequences(dataset, "unlabelled")["sequence"].to_pylist() == ["MV"]
    assert read_sequences(dataset, "heldout").num_rows == 0


def test_some_columns_are_read_alone(dataset: Path) -> None:
    table = read_sequences(dataset, "train", columns=["sequence", "label"])
    assert table.to_pylist() == [{"sequence": "MK", "label": 0}]


def test_an_unknown_split_cannot_be_read(dataset: Path) -> None:
    splits = "train, valid, test, unlabelled, heldout"
    with pytest.raises(ValueError, match=f"Expected `split` one of {splits}, got 'dev'"):
        read_sequences(dataset, "dev")


def test_a_dataset_without_conflicts_gives_an_empty_table(dataset: Path) -> None:
    assert read_conflicts(dataset).equals(CONFLICTS_SCHEMA.empty_table())


def test_conflicts_are_read(dataset: Path) -> None:
    content = {**tables(), CONFLICTS: tables()[SEQUENCES].slice(1)}
    write_dataset(dataset, content)
    assert read_conflicts(dataset).equals(content[CONFLICTS])


def test_a_dataset_without_held_out_families_gives_an_empty_table(dataset: Path) -> None:
    assert read_heldout_families(dataset).equals(HELD_OUT_SCHEMA.empty_table())


def test_held_out_families_are_read(dataset: Path) -> None:
    row = ["F9", "nine", None, "Domain", "C2", "25.0", 4]
    held_out = pa.table([[cell] for cell in row], schema=HELD_OUT_SCHEMA)
    write_dataset(dataset, {**tables(), HELD_OUT: held_out})
    assert read_heldout_families(dataset).equals(held_out)


def test_a_table_may_come_in_pieces(tmp_path: Path) -> None:
    whole = tables()[SEQUENCES]
    with table_writer(tmp_path, SEQUENCES, whole.schema) as writer:
        for begin in range(whole.num_rows):
            writer.write_table(whole.slice(begin, 1))
    assert pq.read_table(tmp_path / SEQUENCES).equals(whole)


def test_a_folder_without_manifest_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a dataset folder with a manifest\.json, got none"):
        read_sequences(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"manifest\.json: Expected a manifest in JSON, got "),
        ("\udcff", r"manifest\.json: Expected a manifest in JSON, got "),
        ("[]", "Expected the manifest of a dataset, got another one"),
        ('{"kind": "noise"}', "Expected the manifest of a dataset, got another one"),
        (
            '{"kind": "dataset", "schema_version": 1}',
            r"Expected schema version 3 \(ingest again\), got 1",
        ),
    ],
)
def test_a_wrong_manifest_is_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_a_missing_table_is_reported(dataset: Path) -> None:
    (dataset / FAMILIES).unlink()
    with pytest.raises(InputError, match=r"Expected families\.parquet of a dataset, got "):
        read_families(dataset)
    assert not is_complete(dataset, read_manifest(dataset))


def test_a_damaged_table_is_reported(dataset: Path) -> None:
    content = (dataset / SEQUENCES).read_bytes()
    (dataset / SEQUENCES).write_bytes(content[:-20])
    with pytest.raises(InputError, match=r"Expected sequences\.parquet of a dataset, got "):
        read_sequences(dataset)
    assert not is_complete(dataset, read_manifest(dataset))


def test_a_whole_folder_is_complete(dataset: Path) -> None:
    assert is_complete(dataset, read_manifest(dataset))
    assert not is_complete(dataset, {})


def outside(name: str) -> dict[str, Any]:
    return {"files": {**dict.fromkeys((SEQUENCES, FAMILIES), 0), name: 0}}


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/hostname", "../mine/sequences.parquet", "./families.parquet", "x.parquet", "",
     "manifest.json", "..", "sequences.parquet/"],
)  # fmt: skip
def test_a_manifest_that_names_other_files_is_not_complete(dataset: Path, name: str) -> None:
    (dataset.parent / "x").touch()
    for table in (SEQUENCES, FAMILIES):
        (dataset / table).write_bytes(b"")
    assert is_complete(dataset, {"files": dict.fromkeys((SEQUENCES, FAMILIES), 0)})
    assert not is_complete(dataset, outside(name))


@pytest.mark.parametrize("files", [None, [], [SEQUENCES, FAMILIES], "x", 3, {}, {SEQUENCES: 1}])
def test_a_manifest_without_a_list_of_files_is_not_complete(dataset: Path, files: Any) -> None:
    assert not is_complete(dataset, {"files": files})
    manifest = {**read_manifest(dataset), "files": files}
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    assert read_sequences(dataset).num_rows == 3


def test_every_file_has_a_plain_name() -> None:
    assert all(Path(name).name == name for name in (*FILES, *IMAGE_FILES))


def test_the_modality_says_which_files_there_may_be() -> None:
    assert files_of({}) == files_of({"modality": "sequences"}) == FILES
    assert files_of({"modality": "images"}) == IMAGE_FILES


@pytest.mark.parametrize("modality", ["sounds", None, 1, [], {}])
def test_an_unknown_modality_has_no_files(modality: Any, dataset: Path) -> None:
    manifest = {**read_manifest(dataset), "modality": modality}
    assert files_of(manifest) == ()
    assert not is_complete(dataset, manifest)


IMAGE_SIZES = {"images.npy": 3, "images.parquet": 3, "families.parquet": 3, "data_card.md": 3}


@pytest.mark.parametrize(
    ("modality", "files", "expected"),
    [
        ("images", IMAGE_SIZES, True),
        ("images", {**IMAGE_SIZES, "images.npy": 4}, False),
        ("images", {**IMAGE_SIZES, "sequences.parquet": 3}, False),
        ("images", {**IMAGE_SIZES, "alignments.parquet": 3}, False),
        ("images", {"sequences.parquet": 3, "families.parquet": 3}, False),
        ("images", {"images.npy": 3, "images.parquet": 3}, False),
        ("images", {"images.parquet": 3, "families.parquet": 3}, False),
        ("sequences", IMAGE_SIZES, False),
        ("sequences", {"sequences.parquet": 3, "families.parquet": 3}, True),
        ("sequences", {"sequences.parquet": 3, "families.parquet": 3, "images.npy": 3}, False),
    ],
)
def test_a_folder_is_complete_with_the_files_of_its_modality(
    modality: str, files: dict[str, int], expected: bool, tmp_path: Path
) -> None:
    for name in (*FILES, *IMAGE_FILES):
        (tmp_path / name).write_text("abc")
    manifest = {"kind": "dataset", "modality": modality, "files": files}
    assert is_complete(tmp_path, manifest) is expected


CELLS = st.one_of(st.none(), st.text(max_size=3))


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, st.one_of(st.none(), st.integers(-5, 999)))),
    cuts=st.lists(st.integers(0, 9), max_size=3),
)
def test_the_digest_is_the_one_described(
    rows: list[tuple[str | None, str | None, int | None]], cuts: list[int]
) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    schema = pa.schema([("a", pa.string()), ("b", pa.string()), ("n", pa.int32())])
    table = pa.table(columns, schema=schema)
    whole = b""
    for name, column in zip(schema.names, columns, strict=True):
        texts = [None if cell is None else str(cell).encode() for cell in column]
        lengths = [-1 if text is None else len(text) for text in texts]
        whole += f"{name}\n{len(column)}\n".encode()
        packed = b"".join(length.to_bytes(4, "little", signed=True) for length in lengths)
        whole += hashlib.sha256(packed).digest()
        whole += hashlib.sha256(b"".join(text or b"" for text in texts)).digest()
    ends = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [table.slice(a, b - a) for a, b in pairwise(ends)]
    assert digest_of(*pieces) == hashlib.sha256(whole).hexdigest()


def test_the_digest_is_free_of_encoding_and_chunks(tmp_path: Path) -> None:
    whole = tables()[SEQUENCES]
    pq.write_table(whole, tmp_path / "x", compression="gzip", row_group_size=1)
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    expected = digest_of(whole)
    assert digest_of(pq.read_table(tmp_path / "x")) == expected
    assert digest_of(pieces) == expected
    assert digest_of(whole.slice(0, 0), whole.slice(0, 2), whole.slice(2)) == expected


@pytest.mark.parametrize("column", SEQUENCES_SCHEMA.names)
@pytest.mark.parametrize("is_missing", [False, True])
def test_the_digest_sees_every_column(column: str, is_missing: bool) -> None:
    rows = tables()[SEQUENCES].to_pylist()
    other = 9 if column in ("label", "start", "end") else "x"
    rows[2][column] = None if is_missing and rows[2][column] is not None else other
    changed = pa.Table.from_pylist(rows, schema=SEQUENCES_SCHEMA)
    assert digest_of(changed) != digest_of(tables()[SEQUENCES])


def test_the_digest_sees_where_values_end() -> None:
    rows = tables()[SEQUENCES].to_pylist()
    rows[0]["sequence"], rows[1]["sequence"] = "MKM", "L"
    changed = pa.Table.from_pylist(rows, schema=SEQUENCES_SCHEMA)
    assert digest_of(changed) != digest_of(tables()[SEQUENCES])


def test_the_digest_tells_missing_from_empty() -> None:
    schema = pa.schema([("a", pa.string())])
    missing, empty = (pa.table([[cell]], schema=schema) for cell in (None, ""))
    assert digest_of(missing) != digest_of(empty)


def test_the_manifest_is_plain_text(dataset: Path) -> None:
    text = (dataset / "manifest.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text))[:3] == ["schema_version", "kind", "name"]
