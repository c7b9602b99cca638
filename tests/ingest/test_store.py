import json
import os
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.store import (
    FAMILIES,
    FAMILIES_SCHEMA,
    SEQUENCES,
    SEQUENCES_SCHEMA,
    check_output,
    dataset_digest,
    is_complete,
    read_families,
    read_manifest,
    read_sequences,
    write_dataset,
)


def tables(name: str = "a") -> dict[str, pa.Table]:
    sequences = [
        [name, "b"], ["MK", "ML"], ["F1", "F2"], [0, 1], ["train", "test"]
    ]  # fmt: skip
    families = [["F1", "F2"], ["one", None], [None, "C1"], [1, 0], [0, 0], [0, 1]]
    return {
        SEQUENCES: pa.table(sequences, schema=SEQUENCES_SCHEMA),
        FAMILIES: pa.table(families, schema=FAMILIES_SCHEMA),
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "mine", tables(), manifest={"is_synthetic": False})
    return tmp_path / "mine"


def test_what_is_written_is_read(dataset: Path) -> None:
    assert read_sequences(dataset).equals(tables()[SEQUENCES])
    assert read_families(dataset).equals(tables()[FAMILIES])
    manifest = read_manifest(dataset)
    assert (manifest["kind"], manifest["name"], manifest["schema_version"]) == (
        "dataset",
        "mine",
        1,
    )
    assert manifest["digest"] == dataset_digest(read_sequences(dataset), read_families(dataset))


def test_nothing_else_is_left(dataset: Path) -> None:
    assert [path.name for path in dataset.parent.iterdir()] == ["mine"]
    files = ["families.parquet", "manifest.json", "sequences.parquet"]
    assert sorted(path.name for path in dataset.iterdir()) == files


def test_a_split_is_read_alone(dataset: Path) -> None:
    assert read_sequences(dataset, "test")["sequence"].to_pylist() == ["ML"]


def test_an_unknown_split_cannot_be_read(dataset: Path) -> None:
    with pytest.raises(ValueError, match="Expected `split` one of train, valid, test, got 'dev'"):
        read_sequences(dataset, "dev")


def test_a_dataset_is_replaced(dataset: Path) -> None:
    write_dataset(dataset, tables("other"), manifest={})
    assert read_sequences(dataset)["sequence_name"][0].as_py() == "other"
    assert [path.name for path in dataset.parent.iterdir()] == ["mine"]


def test_an_old_dataset_comes_back_if_the_new_one_cannot_be_put(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(InputError, match="Expected a folder to write, got No space left"):
        write_dataset(dataset, tables("other"), manifest={})
    assert read_sequences(dataset).equals(tables()[SEQUENCES])
    assert [path.name for path in dataset.parent.iterdir()] == ["mine"]


def test_a_link_stays_a_link(dataset: Path) -> None:
    link = dataset.parent / "link"
    link.symlink_to(dataset)
    assert write_dataset(link, tables("other"), manifest={})["name"] == "link"
    assert link.is_symlink()
    assert read_sequences(dataset)["sequence_name"][0].as_py() == "other"


def test_parents_are_made(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a" / "b", tables(), manifest={})
    assert (tmp_path / "a" / "b" / "manifest.json").is_file()


def test_the_folder_has_the_usual_permissions(dataset: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(dataset.stat().st_mode) == 0o777 & ~mask


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_dataset(tmp_path / "mine", tables(), manifest={})
    assert read_manifest(tmp_path / "mine")["name"] == "mine"


def test_a_folder_with_other_files_is_not_replaced(dataset: Path) -> None:
    (dataset / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"a dataset folder, got a folder with 'notes\.txt' in it"):
        check_output(dataset)


def test_a_folder_with_another_manifest_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"kind": "noise"}')
    with pytest.raises(InputError, match=r"got a folder without a manifest\.json of one"):
        check_output(tmp_path)


def test_a_folder_with_a_broken_manifest_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"got a folder without a manifest\.json of one"):
        check_output(tmp_path)


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="or a dataset folder, got a file"):
        check_output(tmp_path / "file")


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Expected a folder to write, got"):
        check_output(tmp_path / "file" / "mine")


def test_a_place_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="Expected a folder to write, got no permission in"):
        check_output(tmp_path / "mine")


def test_an_impossible_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a folder to write, got File name too long"):
        check_output(tmp_path / ("a" * 300))


def test_a_folder_without_manifest_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a dataset folder with a manifest\.json, got none"):
        read_sequences(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"manifest\.json: Expected a manifest in JSON, got "),
        ("[]", "Expected the manifest of a dataset, got another one"),
        ('{"kind": "noise"}', "Expected the manifest of a dataset, got another one"),
        ('{"kind": "dataset", "schema_version": 9}', "Expected schema version 1, got 9"),
    ],
)
def test_a_wrong_manifest_is_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
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


def test_the_digest_is_free_of_encoding_and_chunks(tmp_path: Path) -> None:
    whole = tables()
    pq.write_table(whole[SEQUENCES], tmp_path / "x", compression="gzip", row_group_size=1)
    pieces = pa.concat_tables([whole[SEQUENCES].slice(0, 1), whole[SEQUENCES].slice(1)])
    expected = dataset_digest(whole[SEQUENCES], whole[FAMILIES])
    assert dataset_digest(pq.read_table(tmp_path / "x"), whole[FAMILIES]) == expected
    assert dataset_digest(pieces, whole[FAMILIES]) == expected


@pytest.mark.parametrize("column", SEQUENCES_SCHEMA.names)
def test_the_digest_sees_every_column(column: str) -> None:
    whole = tables()
    rows = whole[SEQUENCES].to_pylist()
    rows[0][column] = 1 if column == "label" else "c"
    changed = pa.Table.from_pylist(rows, schema=SEQUENCES_SCHEMA)
    before = dataset_digest(whole[SEQUENCES], whole[FAMILIES])
    assert dataset_digest(changed, whole[FAMILIES]) != before


def test_the_digest_sees_where_values_end() -> None:
    whole = tables()
    rows = whole[SEQUENCES].to_pylist()
    rows[0]["sequence"], rows[1]["sequence"] = "MKM", "L"
    changed = pa.Table.from_pylist(rows, schema=SEQUENCES_SCHEMA)
    before = dataset_digest(whole[SEQUENCES], whole[FAMILIES])
    assert dataset_digest(changed, whole[FAMILIES]) != before


def test_the_manifest_is_plain_text(dataset: Path) -> None:
    text = (dataset / "manifest.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text))[:3] == ["schema_version", "kind", "name"]
