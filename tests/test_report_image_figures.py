"""Figures of images by the pixels they draw; and that no figure of images speaks of proteins."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from protein_robust.config import load_study
from protein_robust.ingest import read_families, read_manifest
from protein_robust.ingest.images import (
    ImageOptions,
    ingest_images,
    read_image_table,
    read_images,
)
from protein_robust.ingest.images.cifar import CIFAR100
from protein_robust.noise import (
    Classes,
    CropRule,
    LabelNoise,
    LabelRule,
    NoiseInputs,
    NoiseSetting,
    make_noise,
)
from protein_robust.pipeline import main
from protein_robust.report import StudyFacts, StudyFrames
from protein_robust.report.data_figures import family_sizes, write_data_figures
from protein_robust.report.group_figures import GROUP_COLUMNS
from protein_robust.report.image_figures import (
    MAX_CLASSES,
    NUM_WRONG,
    PER_CLASS,
    image_samples,
    wrong_label_samples,
)
from protein_robust.report.noise_figures import noise_figures, write_noise_figures
from protein_robust.report.page import study_markdown, study_page
from protein_robust.report.pictures import CAPTIONS, Picture, draw_pictures
from protein_robust.report.sections import Image
from protein_robust.report.styles import loss_styles
from protein_robust.study import collect_frames, find_runs, losses_of

Images = NDArray[np.uint8]
OF_PROTEINS = re.compile("sequence|famil|residue|protein|crop", re.IGNORECASE)
KINDS = (
    "protein_table", "method_comparison", "robustness_by_rate", "accuracy_by_group",
    "clan_confusion", "reliability", "risk_coverage", "training_dynamics", "label_probability",
    "trust_and_emphasis", "loss_shapes",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 100 training images of 10 classes, 8 x 8 pixels of one channel."""
    folder = tmp_path_factory.mktemp("images") / "digits"
    ingest_images(ImageOptions("digits", num_train=100, num_test=40), folder)
    return folder


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of CIFAR-100 with 3 training images of each class, random pixels in colour."""
    place = tmp_path_factory.mktemp("colour")
    source = place / "cifar-100-python"
    source.mkdir()
    names = (CIFAR100.classes, CIFAR100.superclasses)
    fine_names, coarse_names = ([name.encode() for name in of] for of in names)
    meta = {b"fine_label_names": fine_names, b"coarse_label_names": coarse_names}
    (source / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    rng = np.random.default_rng(0)
    for word, of_each in (("train", 3), ("test", 1)):
        fine = rng.permutation(np.repeat(np.arange(100), of_each))
        content = {
            b"data": rng.integers(0, 256, (len(fine), 3072), dtype=np.uint8),
            b"fine_labels": fine.tolist(),
            b"coarse_labels": [CIFAR100.superclass_of[label] for label in fine],
            b"filenames": [f"{word}_{n}.png".encode() for n in range(len(fine))],
        }
        (source / word).write_bytes(pickle.dumps(content, protocol=2))
    folder = place / "cifar100"
    ingest_images(ImageOptions("cifar100", source=str(source), checksums="skip"), folder)
    return folder


def train_of(folder: Path) -> tuple[Images, NDArray[np.int64], list[str]]:
    labels = read_image_table(folder, "train", columns=["label"])["label"].to_numpy()
    names = read_families(folder)["family_accession"].to_pylist()
    return np.asarray(read_images(folder, "train")), labels.astype(np.int64), names


def noise_of(
    folder: Path, data: Path, rule: LabelRule, *, clans: bool = False
) -> tuple[Path, LabelNoise]:
    """Draw noise for a data set; gives its folder and the labels of the training images."""
    labels = {
        split: read_image_table(data, split, columns=["label"])["label"].to_numpy().astype(np.int64)
        for split in ("train", "valid", "test")
    }
    lengths = {split: np.ones_like(label) for split, label in labels.items()}
    table = read_families(data)
    names = tuple(table["family_accession"].to_pylist())
    known = tuple(table["clan"].to_pylist()) if clans else (None,) * len(names)
    inputs = NoiseInputs(labels, lengths, Classes(names, known), read_manifest(data)["digest"])
    return folder, make_noise(folder, NoiseSetting(rule, CropRule(), 0), inputs=inputs).labels


def drawn(figure: Figure) -> Images:
    [image] = figure.axes[0].get_images()
    return np.asarray(image.get_array())


def texts(figure: Figure) -> Iterator[str]:
    """Every text of a figure that has letters: titles, axes, ticks, legends, notes."""
    figure.draw_without_rendering()  # ticks are named when they are drawn
    for text in figure.findobj(Text):
        if text.get_text().strip():
            yield text.get_text()


def cut_off(figure: Figure) -> float:
    """By how many inches anything stands out of the figure; 0 for nothing."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return max(0.0, -box.x0, -box.y0, box.x1 - width, box.y1 - height)


def named_colours(figure: Figure) -> Iterator[tuple[str, str]]:
    """The label and the colour of each line, each curve with error bars and each group of bars."""
    for axis in figure.axes:
        for line in axis.get_lines():
            yield str(line.get_label()), to_hex(line.get_color())
        for made in axis.containers:
            if isinstance(made, BarContainer):
                yield str(made.get_label()), to_hex(made.patches[0].get_facecolor())
            elif made[0] is not None:  # else the error bars of bars
                yield str(made.get_label()), to_hex(made[0].get_color())


class TestSamples:
    @pytest.mark.parametrize(("name", "size"), [("digits", 8), ("hundred", 32)])
    def test_tiles_are_the_first_images_of_their_class(
        self, name: str, size: int, request: pytest.FixtureRequest
    ) -> None:
        folder = request.getfixturevalue(name)
        images, labels, names = train_of(folder)
        figure = image_samples(folder)
        sheet = drawn(figure)
        shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        step = size + 1
        assert sheet.shape == (len(shown) * step, PER_CLASS * step, 3)
        for row, of_class in enumerate(shown):
            places = np.flatnonzero(labels == names.index(of_class))
            for column in range(PER_CLASS):
                top, left = row * step, column * step
                tile = sheet[top : top + size, left : left + size]
                expected: Images = np.full((size, size, 3), 255, np.uint8)  # white: no image
                if column < len(places):
                    expected = np.broadcast_to(images[places[column]], (size, size, 3))
                np.testing.assert_array_equal(tile, expected)

    def test_names_stand_in_the_middle_of_their_rows(self, digits: Path) -> None:
        [axis] = image_samples(digits).axes
        # Rows of 8 pixels and a line between: pixels 0 to 7 have their middle at 3.5.
        assert axis.get_yticks().tolist() == [3.5 + 9 * row for row in range(10)]

    def test_all_classes_where_there_is_room(self, digits: Path) -> None:
        figure = image_samples(digits)
        assert len(figure.axes[0].get_yticks()) == 10
        assert figure.get_suptitle() == "digits: the first training images of each class."

    @pytest.mark.parametrize("name", ["digits", "hundred"])
    def test_names_are_not_cut_off(self, name: str, request: pytest.FixtureRequest) -> None:
        assert cut_off(image_samples(request.getfixturevalue(name))) == 0

    def test_of_a_hundred_classes_twenty_from_the_first_to_the_last(self, hundred: Path) -> None:
        figure = image_samples(hundred)
        shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        # 99 / 19 = 5.2 classes apart.
        assert (shown[0], shown[1], shown[-1]) == ("apple", "bed", "worm")
        assert len(shown) == len(set(shown)) == MAX_CLASSES
        assert "20 of 100 classes" in figure.get_suptitle()


def wrong_places(noise: LabelNoise) -> NDArray[np.int64]:
    return np.flatnonzero(noise.label != noise.clean_label)


@pytest.mark.slow
class TestWrongLabels:
    @pytest.mark.parametrize("name", ["digits", "hundred"])
    def test_each_image_stands_with_its_given_and_its_right_class(
        self, name: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        folder = request.getfixturevalue(name)
        noise = noise_of(tmp_path / "n", folder, LabelRule("symmetric", 0.6))[1]
        images, labels, names = train_of(folder)
        figure = wrong_label_samples(folder, noise, "label 60%")
        assert figure is not None
        wrong = wrong_places(noise)
        chosen = [wrong[i * (len(wrong) - 1) // (NUM_WRONG - 1)] for i in range(NUM_WRONG)]
        assert len(figure.axes) == NUM_WRONG
        for axis, place in zip(figure.axes, chosen, strict=True):
            [image] = axis.get_images()
            expected = np.broadcast_to(images[place], (*images.shape[1:3], 3))
            np.testing.assert_array_equal(image.get_array(), expected)
            given, clean = names[noise.label[place]], names[labels[place]]
            assert axis.get_title() == f"{given}\n(was {clean})"
            assert given != clean

    def test_title_says_which_noise_and_how_many(self, digits: Path, tmp_path: Path) -> None:
        noise = noise_of(tmp_path / "n", digits, LabelRule("symmetric", 0.6))[1]
        figure = wrong_label_samples(digits, noise, "label 60%")
        assert figure is not None
        assert len(wrong_places(noise)) == 60
        assert figure.get_suptitle() == (
            "label 60%: 24 of 60 training images with a wrong label. "
            "Above: the given class, and the right one."
        )

    def test_fewer_than_there_is_room_for_are_all_shown_once(
        self, digits: Path, tmp_path: Path
    ) -> None:
        noise = noise_of(tmp_path / "n", digits, LabelRule("symmetric", 0.1))[1]
        images = train_of(digits)[0]
        figure = wrong_label_samples(digits, noise, "label 10%")
        assert figure is not None
        shown = [np.asarray(a.get_images()[0].get_array()) for a in figure.axes if a.get_images()]
        assert len(shown) == 10
        for image, place in zip(shown, wrong_places(noise), strict=True):
            np.testing.assert_array_equal(image[:, :, :1], images[place])

    def test_without_wrong_labels_there_is_none(self, digits: Path, tmp_path: Path) -> None:
        noise = noise_of(tmp_path / "n", digits, LabelRule())[1]
        assert wrong_label_samples(digits, noise, "clean") is None

    def test_long_names_of_classes_are_broken(self, digits: Path, tmp_path: Path) -> None:
        noise = noise_of(tmp_path / "n", digits, LabelRule("symmetric", 0.1))[1]
        long = "a name of three lines or so that is long"
        with pytest.MonkeyPatch.context() as patch:
            table = read_families(digits)
            place = table.column_names.index("family_accession")
            named = table.set_column(place, "family_accession", [[long] * len(table)])
            patch.setattr("protein_robust.report.image_figures.read_families", lambda _: named)
            figure = wrong_label_samples(digits, noise, "label 10%")
        assert figure is not None
        title = figure.axes[0].get_title()
        assert max(map(len, title.splitlines())) <= 19
        assert title.replace("\n", " ") == f"{long} (was {long})"


@pytest.mark.slow
class TestFiles:
    def test_figures_of_the_data_are_png_and_svg(self, digits: Path, tmp_path: Path) -> None:
        written = write_data_figures(digits, tmp_path / "figures")
        stems = ("data_images", "data_families")
        assert [p.name for p in written] == [f"{s}.{e}" for s in stems for e in ("png", "svg")]
        assert all(path.stat().st_size > 1000 for path in written)

    def test_figures_of_noise_are_those_of_labels_and_of_images(
        self, digits: Path, tmp_path: Path
    ) -> None:
        rules = {"clean": LabelRule(), "label 40%": LabelRule("symmetric", 0.4)}
        noises = {name: noise_of(tmp_path / name, digits, rule)[0] for name, rule in rules.items()}
        written = write_noise_figures(noises, digits, tmp_path / "figures")
        stems = ("noise_rates", "noise_targets_label_40", "noise_images_label_40")
        assert [p.name for p in written] == [f"{s}.{e}" for s in stems for e in ("png", "svg")]

    def test_same_data_and_noise_give_the_same_bytes(self, digits: Path, tmp_path: Path) -> None:
        made = []
        for name in "ab":
            noise = noise_of(tmp_path / f"noise_{name}", digits, LabelRule("pair", 0.4))[0]
            written = write_data_figures(digits, tmp_path / name)
            written += write_noise_figures({"pair": noise}, digits, tmp_path / name)
            made.append([path.read_bytes() for path in written])
        assert len(made[0]) == 10
        assert made[0] == made[1]

    def test_classes_and_images_are_called_so(self, hundred: Path, tmp_path: Path) -> None:
        rule = LabelRule("symmetric", 0.4)
        noise = noise_of(tmp_path / "n", hundred, rule, clans=True)[0]
        figures = [*noise_figures({"label": noise}, hundred).values(), family_sizes(hundred)]
        figures.append(image_samples(hundred))
        said = [text for figure in figures for text in texts(figure)]
        assert "100 classes by size" in said
        assert "400 images by split" in said
        assert [text for text in said if OF_PROTEINS.search(text)] == []

    def test_no_point_of_the_sizes_is_cut_off(self, digits: Path) -> None:
        ranks = family_sizes(digits).axes[0]
        assert ranks.get_ylim() == pytest.approx((0, 11))  # ten images of each class, and air


STUDY = """\
name: tiny
output: {folder}/results
data: {{images: digits, num_train: 200, num_test: 80, output: {folder}/dataset}}
noise:
  - {{name: clean}}
  - {{name: wrong, label: {{kind: symmetric, rate: 0.4}}}}
model: resnet8
training: {{epochs: 2, batch_size: 50, optimizer: sgd, learning_rate: 0.05}}
losses:
  - {{name: cross_entropy, label: CCE}}
  - {{name: proselflc, label: PSLC}}
  - {{name: derivative_manipulation, label: DM}}
tracking: {{enabled: false}}
"""
LOSSES = ("CCE", "PSLC", "DM")
FACTS = StudyFacts("tiny", digest="abc", data=[("train images", "200")])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFrames, dict[str, Picture]]:
    """A study on images, carried out, with classes of several sizes; its frames and pictures."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.yaml").write_text(STUDY.format(folder=folder))
    assert main(["run", str(folder / "tiny.yaml"), "--jobs", "1"]) == 0
    runs = find_runs([folder / "results"])
    assert json.loads((folder / "dataset" / "manifest.json").read_text())["modality"] == "images"
    assert len(runs) == 2 * len(load_study(folder / "tiny.yaml").losses)
    sizes = [
        ("wrong", loss, 0, "final", "test", "family_size", group, place, 40, 0.6, 0.5, 0.7)
        for loss in LOSSES
        for place, group in enumerate(("<= 10", "> 200"))
    ]
    frames = replace(
        collect_frames(runs, np.random.default_rng(0)),
        groups=pd.DataFrame(sizes, columns=list(GROUP_COLUMNS)),
    )
    return frames, draw_pictures(frames, losses_of(runs))


@pytest.mark.slow
class TestStudy:
    def test_the_pictures_are_all_that_images_have(
        self, study: tuple[StudyFrames, dict[str, Picture]]
    ) -> None:
        assert tuple(dict.fromkeys(picture.kind for picture in study[1].values())) == KINDS

    def test_no_text_in_a_picture_speaks_of_proteins(
        self, study: tuple[StudyFrames, dict[str, Picture]]
    ) -> None:
        said = [text for picture in study[1].values() for text in texts(picture.figure)]
        assert "By size of the class" in said
        assert "Errors between classes (numbers: predictions)" in said
        assert [text for text in said if OF_PROTEINS.search(text)] == []

    def test_nothing_in_a_picture_is_cut_off(
        self, study: tuple[StudyFrames, dict[str, Picture]]
    ) -> None:
        sizes = {stem: cut_off(picture.figure) for stem, picture in study[1].items()}
        assert {stem for stem, size in sizes.items() if size > 0.02} == set()

    def test_superclasses_are_clans(self, study: tuple[StudyFrames, dict[str, Picture]]) -> None:
        clans = {str(digit): "even" if digit % 2 == 0 else "odd" for digit in range(10)}
        made = draw_pictures(replace(study[0], clans=clans))
        said = [text for picture in made.values() for text in texts(picture.figure)]
        assert "within a clan" in said
        assert [text for text in said if OF_PROTEINS.search(text)] == []
        assert "clans of images are their superclasses" in CAPTIONS["clan_confusion"][1]

    @pytest.mark.parametrize("is_html", [False, True])
    def test_no_text_of_the_page_speaks_of_proteins(
        self, study: tuple[StudyFrames, dict[str, Picture]], is_html: bool
    ) -> None:
        frames, pictures = study
        images = [Image(stem, made.kind, made.subject, b"") for stem, made in pictures.items()]
        make = study_page if is_html else study_markdown
        more = {} if is_html else {"figures": "figures"}
        page = make(FACTS, frames, images, **more)
        assert "Where the networks are right" in page
        assert OF_PROTEINS.findall(page) == []
        assert "clan accuracy" not in page  # without clans it is the accuracy once more

    def test_a_loss_has_one_colour_in_all_pictures(
        self, study: tuple[StudyFrames, dict[str, Picture]]
    ) -> None:
        found: dict[str, set[str]] = {}
        for picture in study[1].values():
            for name, colour in named_colours(picture.figure):
                found.setdefault(name.removesuffix(" *"), set()).add(colour)
        expected = {loss: {colour.lower()} for loss, (colour, _) in loss_styles(LOSSES).items()}
        assert {loss: found[loss] for loss in LOSSES} == expected
