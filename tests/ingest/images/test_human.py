"""Files of labels that people gave."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest.images.human import read_human_labels

FINE = np.array([3, 99, 0, 41])
COARSE = np.array([8, 13, 4, 19])
TRUTH = {"clean_label": FINE, "clean_coarse_label": COARSE}
CONTENT: dict[str, Any] = {
    "index": np.arange(4),
    "clean_label": FINE.astype(np.uint8),
    "noisy_label": np.array([3, 1, 0, 2]),
    "clean_coarse_label": COARSE.tolist(),  # lists, as in the published CIFAR-100_human.pt
    "noisy_coarse_label": [8, 1, 4, 2],
}


def save(path: Path, kind: str, content: dict[str, Any]) -> str:
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **content)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "pt")
    return str(path)


def read(path: str, *, is_coarse: bool = False, num_classes: int = 100) -> dict[str, Any]:
    return dict(read_human_labels(path, TRUTH, is_coarse=is_coarse, num_classes=num_classes))


KINDS = ["npz", "pt", "old pt"]


@pytest.mark.parametrize("kind", KINDS)
def test_annotations_of_the_chosen_classes_are_read(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path / "labels", kind, CONTENT)  # the name does not matter
    fine = read(path)
    assert list(fine) == ["noisy"]
    assert fine["noisy"].dtype == np.int64
    assert fine["noisy"].tolist() == [3, 1, 0, 2]
    coarse = read(path, is_coarse=True, num_classes=20)
    assert {name: labels.tolist() for name, labels in coarse.items()} == {
        "noisy_coarse": [8, 1, 4, 2]
    }


def test_annotations_are_named_without_the_word_label(tmp_path: Path) -> None:
    names = ["aggre_label", "worse_label", "random_label1", "random_label2", "random_label3"]
    content = {"clean_label": FINE, **dict.fromkeys(names, FINE)}
    found = read(save(tmp_path / "h.npz", "npz", content))
    assert list(found) == ["aggre", "worse", "random1", "random2", "random3"]
    assert_array_equal(found["random2"], FINE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean_label": None}, "`clean_label` among the human labels, got index, noisy_label"),
        (
            {"clean_label": np.array([3, 99, 1, 40])},
            "`clean_label` that is the label of each image, got 1 for 0 in row 2",
        ),
        (
            {"clean_coarse_label": np.array([8, 13, 4, 18])},
            "`clean_coarse_label` that is the label of each image, got 18 for 19 in row 3",
        ),
        ({"clean_label": FINE[:3]}, "`clean_label` of the 4 training images .*, got 3 labels"),
        ({"noisy_label": FINE[:3]}, "`noisy_label` of the 4 training images .*, got 3 labels"),
        ({"noisy_label": FINE + 1}, r"`noisy_label` in \[0, 100\), got 100 \(row 1\)"),
        ({"noisy_label": FINE - 1}, r"`noisy_label` in \[0, 100\), got -1 \(row 2\)"),
        ({"noisy_label": FINE * 1.0}, "`noisy_label`, .*an array of float64"),
        ({"noisy_label": None}, "an annotation of the 100 classes, got only index, clean_label"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels_that_do_not_fit_the_images_are_refused(
    changes: dict[str, Any], message: str, kind: str, tmp_path: Path
) -> None:
    content = {k: v for k, v in {**CONTENT, **changes}.items() if v is not None}
    path = save(tmp_path / "labels", kind, content)
    with pytest.raises(InputError, match=f"labels: Expected {message}"):
        read(path)


def test_a_file_without_annotations_of_superclasses_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "h.npz", "npz", {"clean_label": FINE, "noisy_label": FINE})
    with pytest.raises(InputError, match="an annotation of the 20 superclasses, got only clean_la"):
        read(path, is_coarse=True, num_classes=20)


class Call:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["pt", "old pt"])
def test_a_file_of_torch_that_runs_something_is_refused(kind: str, tmp_path: Path) -> None:
    content = {**CONTENT, "noisy_label": Call(f"touch {tmp_path / 'made'}")}
    path = save(tmp_path / "h.pt", kind, content)
    with pytest.raises(InputError, match=r"h\.pt: Expected a pickle of .*names posix\.system"):
        read(path)
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists()  # so it would have been


@pytest.mark.parametrize("kind", ["pt", "old pt"])
def test_tensors_are_refused(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path / "h.pt", kind, {"clean_label": torch.zeros(4)})
    with pytest.raises(InputError, match=r"got one that names torch\._utils\._rebuild_tensor_v2"):
        read(path)


def test_an_array_of_objects_in_npz_is_refused(tmp_path: Path) -> None:
    content = {**CONTENT, "noisy_label": np.array([Call("true")], dtype=object)}
    path = save(tmp_path / "h.npz", "npz", content)
    with pytest.raises(InputError, match=r"h\.npz: Expected arrays of numbers, got Object arrays"):
        read(path)


def npy_of(header: str) -> bytes:
    """An array of 80 bytes under a header of one's own."""
    raw = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + bytes(80)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i8', 'fortran_order': False, 'shape': (10000000000000,)}",  # 73 TiB
        "{'descr': '<i8', 'fortran_order': False, 'shape': (11,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (10,)",
        "{[]: 1}",
        "((((",
        "  x\n y\n  z",
    ],
)
def test_an_array_under_a_crafted_header_is_refused(header: str, tmp_path: Path) -> None:
    (tmp_path / "h.npz").write_bytes(zip_of(**{"clean_label.npy": npy_of(header)}))
    with pytest.raises(InputError, match=r"h\.npz: Expected arrays of numbers, got "):
        read(str(tmp_path / "h.npz"))


@pytest.mark.parametrize("name", ["clean_label.npy", "x/data.pkl"])
def test_an_archive_that_unpacks_to_much_more_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "h.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    raw = path.read_bytes()
    # In the central directory: its size unpacked, 24 bytes from the beginning of the entry.
    place = raw.index(b"PK\x01\x02") + 24
    path.write_bytes(raw[:place] + struct.pack("<I", 2**28 + 1) + raw[place + 4 :])
    with pytest.raises(InputError, match="at most 268,435,456 bytes, got 268,435,457"):
        read(str(path))


def test_an_archive_that_is_packed_in_a_damaged_way_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("clean_label.npy", npy_of("{}"))
    raw = bytearray(path.read_bytes())
    begin = 30 + len("clean_label.npy")  # the size of a local header, and the name
    raw[begin + 4 : begin + 40] = b"\xff" * 36
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"h\.npz: Expected a whole \.npz or \.pt file, got "):
        read(str(path))


def zip_of(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"a \.npz file, or a \.pt file of torch\.save, got another one \(its end\)"),
        (b"words", r"a \.npz file, or a \.pt file of torch\.save, got another one \("),
        (pickle.dumps({"clean_label": [1]}), r"a \.npz file, or a \.pt file .*, got a pickle"),
        (zip_of(), "`clean_label` among the human labels, got "),
        (zip_of(**{"a.txt": b"x"}), "`clean_label` among the human labels, got a.txt"),
        (zip_of(**{"clean_label.npy": b"\x93NUMPY\x01\x00"}), "Expected arrays of numbers, got"),
        (zip_of(**{"x/data.pkl": b"\x80"}), "Expected a whole pickle of arrays of numbers, got "),
        (zip_of(**{"x/data.pkl": pickle.dumps([])}), "a pickle of a dictionary, got one of a list"),
    ],
)
def test_another_file_is_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "h.pt").write_bytes(raw)
    with pytest.raises(InputError, match=message):
        read(str(tmp_path / "h.pt"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    save(path, kind, CONTENT)
    whole = path.read_bytes()
    for end in range(0, len(whole) * 3 // 4, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="labels: Expected "):
            read(str(path))


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_a_damaged_archive_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    save(path, kind, CONTENT)
    whole = path.read_bytes()
    place = whole.index(b"NUMPY" if kind == "npz" else b"noisy_label")
    path.write_bytes(whole[:place] + b"\xff\xff" + whole[place + 2 :])
    with pytest.raises(InputError, match=r"labels: Expected a whole .* file, got Bad CRC-32"):
        read(str(path))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: Expected a readable file, got No such file"):
        read(str(tmp_path / "nothing"))
