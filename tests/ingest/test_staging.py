import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from protein_robust.errors import InputError
from protein_robust.ingest.staging import check_output, staging

LEFT = """
import sys, time
from protein_robust.ingest.staging import staging
with staging(sys.argv[1]) as staged:
    (staged.folder / "half").write_text("half")
    print(staged.folder.parent, flush=True)
    time.sleep(60)
"""


MANY = """
import sys, time
from pathlib import Path
from protein_robust.ingest.staging import staging
end = time.monotonic() + 0.8
while time.monotonic() < end:
    with staging(sys.argv[1]) as staged:
        (staged.folder / "manifest.json").write_text('{"kind": "dataset", "word": "many"}')
        staged.put()
"""


def put(output: Path, word: str = "first") -> None:
    """The smallest folder that counts as a dataset."""
    with staging(output) as staged:
        (staged.folder / "manifest.json").write_text(json.dumps({"kind": "dataset", "word": word}))
        (staged.scratch / "big").write_text("needed meanwhile")
        staged.put()


def word(output: Path) -> str:
    return str(json.loads((output / "manifest.json").read_text())["word"])


def beside(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir() if path.name != output.name)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    put(tmp_path / "mine")
    return tmp_path / "mine"


def test_only_what_was_staged_is_left(output: Path) -> None:
    assert beside(output) == []
    assert [path.name for path in output.iterdir()] == ["manifest.json"]


def test_a_dataset_is_replaced(output: Path) -> None:
    put(output, "other")
    assert word(output) == "other"
    assert beside(output) == []


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    with staging(tmp_path / "mine") as staged:
        assert not (tmp_path / "mine").exists()
        assert staged.folder.parent == staged.scratch.parent
        assert staged.folder.parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing_new(output: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staging(output):
        raise error
    assert word(output) == "first"
    assert beside(output) == []


def test_an_error_of_the_system_says_which_folder(output: Path) -> None:
    message = r"mine: Expected a folder to write, got No space left on device\.$"
    with pytest.raises(InputError, match=message), staging(output):
        raise OSError(28, "No space left on device")
    assert word(output) == "first"
    assert beside(output) == []


def test_an_old_dataset_comes_back_if_the_new_one_cannot_be_put(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(InputError, match="Expected a folder to write, got No space left"):
        put(output, "other")
    assert word(output) == "first"
    assert beside(output) == []


def test_a_link_stays_a_link(output: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(output)
    put(link, "other")
    assert link.is_symlink()
    assert word(output) == "other"
    assert beside(link) == []


def test_a_link_to_nothing_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    put(tmp_path / "link")
    assert word(tmp_path / "mine") == "first"


def test_parents_are_made(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b")
    assert word(tmp_path / "a" / "b") == "first"


def test_the_folder_has_the_usual_permissions(output: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(output.stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((output / "manifest.json").stat().st_mode) == 0o666 & ~mask


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    put(tmp_path / "mine")
    assert word(tmp_path / "mine") == "first"


def test_a_folder_with_other_files_is_not_replaced(output: Path) -> None:
    (output / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"a dataset folder, got a folder with 'notes\.txt' in it"):
        put(output, "other")
    assert word(output) == "first"


@pytest.mark.parametrize("text", ['{"kind": "noise"}', "{", "[]", '"dataset"'])
def test_a_folder_with_another_manifest_is_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"got a folder without a manifest\.json of one"):
        check_output(tmp_path)


def test_tables_without_manifest_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "sequences.parquet").write_text("someone's")
    with pytest.raises(InputError, match=r"got a folder without a manifest\.json of one"):
        check_output(tmp_path)


@pytest.mark.parametrize(
    ("modality", "name"), [("images", "images.npy"), ("sequences", "sequences.parquet")]
)
def test_a_dataset_of_either_modality_is_replaced(output: Path, modality: str, name: str) -> None:
    (output / "manifest.json").write_text(json.dumps({"kind": "dataset", "modality": modality}))
    (output / name).write_text("many")
    (output / "families.parquet").write_text("few")
    put(output, "other")
    assert word(output) == "other"


@pytest.mark.parametrize(
    ("modality", "name"),
    [("images", "sequences.parquet"), ("sequences", "images.npy"), ("sounds", "images.npy")],
)
def test_a_dataset_with_a_file_of_another_modality_is_not_replaced(
    output: Path, modality: str, name: str
) -> None:
    (output / "manifest.json").write_text(json.dumps({"kind": "dataset", "modality": modality}))
    (output / name).write_text("someone's")
    with pytest.raises(InputError, match=f"a dataset folder, got a folder with '{name}' in it"):
        put(output, "other")
    assert (output / name).read_text() == "someone's"


def test_images_without_manifest_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "images.npy").write_text("someone's")
    with pytest.raises(InputError, match=r"got a folder without a manifest\.json of one"):
        check_output(tmp_path)


def test_a_dataset_of_another_version_is_replaced(output: Path) -> None:
    (output / "manifest.json").write_text('{"kind": "dataset", "schema_version": 1}')
    put(output, "new")
    assert word(output) == "new"


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="or a dataset folder, got a file"):
        check_output(tmp_path / "file")


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Expected a folder to write, got"):
        check_output(tmp_path / "file" / "mine")


def test_the_root_is_not_replaced() -> None:
    with pytest.raises(InputError, match=r"^/: Expected a new, an empty or .*, got a folder"):
        check_output("/")


def test_a_place_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="Expected a folder to write, got no permission in"):
        check_output(tmp_path / "mine")


def test_a_too_long_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a folder to write, got File name too long"):
        check_output(tmp_path / ("a" * 300))
    with pytest.raises(InputError, match="Expected a folder to write, got File name too long"):
        put(tmp_path / ("a" * 255))  # may be there, but nothing longer beside it
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\udcff", r"^Expected a path that is UTF-8 text, got '.*a\\udcff'\.$"),
        ("a\0b", r"^Expected a path without a NUL character, got '.*a\\x00b'\.$"),
    ],
)
def test_a_name_that_cannot_be_written_down_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_output(tmp_path / name)


@pytest.mark.parametrize("name", ["a[1]", "*", "mine?", ".hidden", "-x", "ä ö", "a.b"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    put(tmp_path / name)
    make_left(tmp_path / name)
    put(tmp_path / name, "other")
    assert word(tmp_path / name) == "other"
    assert beside(tmp_path / name) == []


def make_left(output: Path, name: str = "abcdefg1") -> Path:
    """What a killed process may leave."""
    left = output.parent / f".{output.name}.{name}"
    (left / "new").mkdir(parents=True)
    (left / "scratch").mkdir()
    (left / "lock").touch()
    (left / "scratch" / "names").write_bytes(b"x" * 1000)
    return left


def test_what_a_killed_process_left_is_removed_by_the_next(output: Path) -> None:
    make_left(output)
    with staging(output):
        assert len(beside(output)) == 1
    assert beside(output) == []


@pytest.mark.parametrize("entries", [[], ["lock"], ["new"], ["scratch", "old"], ["lock", "old"]])
def test_what_a_process_left_that_was_killed_early_or_late_is_removed(
    output: Path, entries: list[str]
) -> None:
    left = output.parent / ".mine.abcdefg1"
    left.mkdir()
    for name in entries:
        (left / name).touch() if name == "lock" else (left / name).mkdir()
    put(output, "other")
    assert (beside(output), word(output)) == ([], "other")


@pytest.mark.parametrize("entry", ["notes", "sequences.parquet", ".git"])
def test_a_folder_that_only_looks_like_a_rest_stays(output: Path, entry: str) -> None:
    (make_left(output) / entry).touch()
    make_left(output, "backup")
    (output.parent / ".mine.filefile").touch()
    put(output, "other")
    assert beside(output) == [".mine.abcdefg1", ".mine.backup", ".mine.filefile"]


def test_a_link_that_looks_like_a_rest_is_not_followed(output: Path, tmp_path: Path) -> None:
    elsewhere = make_left(tmp_path / "elsewhere" / "x")
    (output.parent / ".mine.abcdefg1").symlink_to(elsewhere)
    put(output, "other")
    assert (elsewhere / "scratch" / "names").exists()


def test_the_folder_of_a_living_process_stays(output: Path) -> None:
    left = make_left(output)
    with FileLock(left / "lock"):
        put(output, "other")
        assert beside(output) == [left.name]
    put(output, "third")
    assert beside(output) == []


def test_what_belongs_to_another_dataset_stays(output: Path) -> None:
    left = make_left(output.parent / "yours")
    put(output, "other")
    assert beside(output) == [left.name]


def test_a_dataset_that_a_killed_process_had_set_aside_comes_back(output: Path) -> None:
    left = make_left(output)
    output.rename(left / "old")
    with pytest.raises(KeyError), staging(output):
        raise KeyError
    assert word(output) == "first"
    assert beside(output) == []


def test_a_newer_dataset_is_not_replaced_by_one_set_aside(output: Path) -> None:
    left = make_left(output)
    shutil.copytree(output, left / "old")
    put(output, "other")
    assert word(output) == "other"
    assert beside(output) == []


@pytest.mark.slow
def test_two_processes_have_places_of_their_own(output: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LEFT, str(output)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        inside = Path(process.stdout.readline().strip())
        put(output, "other")
        assert (inside / "new" / "half").read_text() == "half"
        process.send_signal(signal.SIGKILL)
    assert word(output) == "other"
    assert beside(output) == [inside.name]
    deadline = time.monotonic() + 5
    while beside(output) and time.monotonic() < deadline:
        put(output, "third")  # the system may take a moment to end the lock
    assert beside(output) == []


@pytest.mark.slow
def test_processes_that_replace_one_folder_again_and_again_never_fail(output: Path) -> None:
    command = [sys.executable, "-c", MANY, str(output)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * 3
    assert word(output) == "many"
    assert beside(output) == []
