"""Figures of a data set and of noise by what they draw; and the files they become."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import (
    IngestOptions,
    Source,
    ingest,
    read_conflicts,
    read_families,
    read_manifest,
    read_sequences,
)
from protein_robust.noise import (
    Classes,
    CropRule,
    LabelRule,
    Noise,
    NoiseInputs,
    NoiseSetting,
    make_noise,
)
from protein_robust.report.data_figures import (
    conflict_pairs,
    count_conflicts,
    family_sizes,
    sequence_lengths,
    write_data_figures,
)
from protein_robust.report.drawing import new_stem
from protein_robust.report.label_noise_figures import noise_rates, noise_targets
from protein_robust.report.noise_figures import (
    kept_fractions,
    noise_figures,
    write_noise_figures,
)

CLANS = {"PF1": "CL1", "PF2": "CL1", "PF3": ""}
SIZES = {"PF1": 30, "PF2": 20, "PF3": 10}


def residues(rng: np.random.Generator, length: int) -> str:
    return "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size=length))


def write_rows(path: Path, *, longest: int = 60, shared: tuple[tuple[str, ...], ...] = ()) -> Path:
    """Families of `SIZES`, sequences of 20 residues and more, and some that stand in several."""
    rng = np.random.default_rng(0)
    rows = [
        (family, residues(rng, int(length)))
        for family, size in SIZES.items()
        for length in np.linspace(20, longest, size)
    ]
    for families in shared:
        sequence = residues(rng, 25)
        rows += [(family, sequence) for family in families]
    lines = [f"{family},id_{family},{CLANS[family]},{sequence}" for family, sequence in rows]
    head = "family_accession,family_id,clan,sequence"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def dataset(folder: Path, options: IngestOptions | None = None, **rows: Any) -> Path:
    source = Source(write_rows(folder / "rows.csv", **rows))
    ingest([source], folder / "mine", options=options or IngestOptions())
    return folder / "mine"


def noise_of(
    folder: Path, data: Path, label: LabelRule, crop: CropRule | None = None
) -> tuple[Path, Noise]:
    labels, lengths = {}, {}
    for split in ("train", "valid", "test", "heldout"):
        table = read_sequences(data, split)
        lengths[split] = np.array([len(s) for s in table["sequence"].to_pylist()], np.int64)
        if split != "heldout":
            labels[split] = table["label"].to_numpy().astype(np.int64)
    table = read_families(data)
    names = tuple(table["family_accession"].to_pylist())
    classes = Classes(names, tuple(table["clan"].to_pylist()), lambda: np.arange(len(names)) - 1)
    digest = read_manifest(data)["digest"]
    inputs = NoiseInputs(labels, lengths, classes, digest)
    setting = NoiseSetting(label, crop or CropRule(), seed=0)
    return folder, make_noise(folder, setting, inputs=inputs)


def texts(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


@pytest.mark.slow
class TestLengths:
    def test_each_split_has_a_line_of_its_shares(self, tmp_path: Path) -> None:
        [axis] = sequence_lengths(dataset(tmp_path)).axes
        lines = {p.get_label(): p for p in axis.patches if p.get_label()}
        assert [label.partition(",")[0] for label in lines] == ["train: 48", "valid: 6", "test: 6"]
        for line in lines.values():
            assert line.get_data().values.sum() == pytest.approx(1.0)

    def test_bins_of_whole_residues_hold_every_sequence_once(self, tmp_path: Path) -> None:
        data = dataset(tmp_path)
        [axis] = sequence_lengths(data).axes
        line = axis.patches[1].get_data()
        train = read_sequences(data, "train")["sequence"].to_pylist()
        by_hand = [
            sum(low < len(sequence) < high for sequence in train) / len(train)
            for low, high in pairwise(line.edges)
        ]
        np.testing.assert_allclose(line.values, by_hand)
        assert np.all(line.edges % 1 == 0.5)

    @pytest.mark.parametrize(("longest", "scale"), [(60, "linear"), (2000, "log")])
    def test_a_wide_range_has_a_logarithmic_axis(
        self, tmp_path: Path, longest: int, scale: str
    ) -> None:
        [axis] = sequence_lengths(dataset(tmp_path, longest=longest)).axes
        assert axis.get_xscale() == scale
        total = axis.patches[1].get_data()
        assert total.values.sum() == pytest.approx(1.0)
        assert (total.edges[0], total.edges[-1]) == (19.5, pytest.approx(longest + 0.5, abs=2))

    def test_held_out_sequences_have_a_line_too(self, tmp_path: Path) -> None:
        options = IngestOptions(hold_out_families=("PF3",))
        [axis] = sequence_lengths(dataset(tmp_path, options)).axes
        assert axis.patches[-1].get_label().startswith("heldout: 10, median 39.5")

    def test_caption_says_where_data_are_synthetic(self, tmp_path: Path) -> None:
        mine = sequence_lengths(dataset(tmp_path)).get_suptitle()
        assert mine.startswith("mine: split rule random, digest ")
        ingest([Source("example")], tmp_path / "example")
        synthetic = sequence_lengths(tmp_path / "example").get_suptitle()
        assert synthetic.startswith("example: synthetic data, split rule random, digest ")

    def test_a_folder_that_is_no_dataset_is_an_input_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Expected a dataset folder with a manifest"):
            sequence_lengths(tmp_path)


class TestFamilies:
    def test_families_are_in_descending_order(self, tmp_path: Path) -> None:
        ranks, splits = family_sizes(dataset(tmp_path)).axes
        line = ranks.get_lines()[0]
        assert list(line.get_xdata()) == [1, 2, 3]
        assert list(line.get_ydata()) == [24, 16, 8]
        assert texts(ranks) == ["median 16"]
        assert texts(splits) == ["48 (80.0%)", "6 (10.0%)", "6 (10.0%)"]

    def test_other_splits_have_bars_where_they_have_rows(self, tmp_path: Path) -> None:
        options = IngestOptions(hold_out_families=("PF3",))
        ranks, splits = family_sizes(dataset(tmp_path, options)).axes
        assert ranks.get_title(loc="left") == "2 families by size"
        labels = [label.get_text() for label in splits.get_yticklabels()]
        assert labels == ["train", "valid", "test", "heldout"]
        assert [patch.get_width() for patch in splits.patches] == [40, 5, 5, 10]


class TestConflicts:
    SHARED = (("PF1", "PF2"), ("PF1", "PF2"), ("PF1", "PF3"), ("PF1", "PF2", "PF3"))

    def test_pairs_are_counted_by_hand(self, tmp_path: Path) -> None:
        counts = count_conflicts(read_conflicts(dataset(tmp_path, shared=self.SHARED)))
        assert counts == {("PF1", "PF2"): 3, ("PF1", "PF3"): 2, ("PF2", "PF3"): 1}

    def test_the_largest_comes_first_and_clans_have_colours(self, tmp_path: Path) -> None:
        figure = conflict_pairs(dataset(tmp_path, shared=self.SHARED))
        assert figure is not None
        [axis] = figure.axes
        assert [label.get_text() for label in axis.get_yticklabels()] == [
            "id_PF1 (PF1) and id_PF2 (PF2)",
            "id_PF1 (PF1) and id_PF3 (PF3)",
            "id_PF2 (PF2) and id_PF3 (PF3)",
        ]
        assert [patch.get_width() for patch in axis.patches] == [3, 2, 1]
        [legend] = figure.legends
        entries = [text.get_text() for text in legend.get_texts()]
        assert entries == ["one clan", "a family without a known clan"]
        assert "3 pairs of families share sequences." in figure.get_suptitle()

    def test_only_the_largest_are_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("protein_robust.report.data_figures.NUM_PAIRS", 2)
        figure = conflict_pairs(dataset(tmp_path, shared=self.SHARED))
        assert figure is not None
        assert len(figure.axes[0].patches) == 2
        assert "3 pairs of families share sequences, the 2 largest." in figure.get_suptitle()

    def test_without_conflicts_there_is_none(self, tmp_path: Path) -> None:
        assert conflict_pairs(dataset(tmp_path)) is None


@pytest.mark.slow
class TestWriting:
    def test_files_are_png_and_svg(self, tmp_path: Path) -> None:
        data = dataset(tmp_path, shared=(("PF1", "PF2"),))
        written = write_data_figures(data, tmp_path / "new" / "figures")
        stems = ("data_lengths", "data_families", "data_conflicts")
        assert [p.name for p in written] == [f"{s}.{e}" for s in stems for e in ("png", "svg")]
        assert all(path.stat().st_size > 1000 for path in written)

    def test_same_data_give_the_same_bytes(self, tmp_path: Path) -> None:
        data = dataset(tmp_path)
        first, second = (write_data_figures(data, tmp_path / name) for name in "ab")
        assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
        assert len(first) == 4


class TestNoiseRates:
    def test_requested_expected_and_actual_rates_of_each_setting(self, tmp_path: Path) -> None:
        data = dataset(tmp_path)
        rules = {
            "pair": LabelRule("pair", 0.25),
            "included": LabelRule("symmetric", 0.3, own_class="included"),
            "matrix": LabelRule("matrix", transitions={"PF1": {"PF2": 0.5}}),
        }
        noises = {name: noise_of(tmp_path / name, data, rule)[1] for name, rule in rules.items()}
        overall, by_class = noise_rates(noises).axes
        points = {c.get_label(): c.get_offsets() for c in overall.collections}
        # A matrix has no requested rate; 24 of 48 labels are of PF1, and half of them change.
        assert points["requested"].tolist() == [[0.25, 0], [0.3, 1]]
        np.testing.assert_allclose(points["expected"], [[0.25, 0], [0.2, 1], [0.25, 2]])
        actual = [noise.labels.actual_rate for noise in noises.values()]
        np.testing.assert_allclose(points["actual"][:, 0], actual)
        assert texts(overall) == [f"{rate:.1%}" for rate in actual]
        matrix = by_class.patches[2].get_data()
        assert matrix.values.tolist() == [0.5, 0.0, 0.0]

    def test_a_rate_that_is_not_of_all_labels_is_said_to_be_so(self, tmp_path: Path) -> None:
        data = dataset(tmp_path)
        rules = {
            "map": LabelRule("asymmetric", 0.5, class_map={"PF2": "PF1"}),
            "pair": LabelRule("pair", 0.5),
        }
        noises = {name: noise_of(tmp_path / name, data, rule)[1] for name, rule in rules.items()}
        figure = noise_rates(noises)
        assert figure.get_suptitle() == "Requested of each source class: map."

    def test_no_wrong_label_is_a_picture_too(self, tmp_path: Path) -> None:
        noise = noise_of(tmp_path / "none", dataset(tmp_path), LabelRule())[1]
        overall, _ = noise_rates({"none": noise}).axes
        assert texts(overall) == ["0.0%"]


class TestNoiseTargets:
    CLASSES = Classes(("PF1", "PF2", "PF3"), ("CL1", "CL1", None))

    def test_confusion_is_by_clean_class_without_its_diagonal(self, tmp_path: Path) -> None:
        rule = LabelRule("matrix", transitions={"PF1": {"PF2": 0.5, "PF3": 0.25}})
        noise = noise_of(tmp_path / "m", dataset(tmp_path), rule)[1]
        figure = noise_targets(noise, self.CLASSES, title="matrix")
        assert figure is not None
        confusion, fates = figure.axes[:2]
        [image] = confusion.get_images()
        expected = [[np.nan, 0.5, 0.25], [0, np.nan, 0], [0, 0, np.nan]]
        np.testing.assert_allclose(image.get_array().filled(np.nan), expected)
        assert len(confusion.patches) == 1  # the frame of CL1
        assert [patch.get_width() for patch in fates.patches] == pytest.approx([2 / 3, 1 / 3, 0])
        assert figure.get_suptitle() == (
            "matrix: 37.5% of the labels changed.\n"
            "66.7% of 18 wrong labels of classes with others in their clan stayed in the clan "
            "(frames)."
        )

    def test_wrong_labels_of_classes_without_a_clan_are_apart(self, tmp_path: Path) -> None:
        rule = LabelRule("asymmetric", 0.5, class_map={"PF3": "PF1", "PF1": "PF2"})
        noise = noise_of(tmp_path / "a", dataset(tmp_path), rule)[1]
        figure = noise_targets(noise, self.CLASSES, title="asymmetric")
        assert figure is not None
        # Half of 24 and of 8.
        assert [p.get_width() for p in figure.axes[1].patches] == pytest.approx([0.75, 0, 0.25])

    def test_without_clans_there_is_one_panel(self, tmp_path: Path) -> None:
        noise = noise_of(tmp_path / "p", dataset(tmp_path), LabelRule("pair", 0.5))[1]
        classes = Classes(self.CLASSES.accessions, (None, None, None))
        figure = noise_targets(noise, classes, title="pair")
        assert figure is not None
        titles = [axis.get_title(loc="left") for axis in figure.axes]
        assert titles == ["What labels become", ""]  # the second is the scale

    def test_the_largest_classes_are_shown_and_the_rest_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("protein_robust.report.label_noise_figures.NUM_CLASSES", 2)
        rule = LabelRule("matrix", transitions={"PF1": {"PF3": 0.5}})
        noise = noise_of(tmp_path / "m", dataset(tmp_path), rule)[1]
        figure = noise_targets(noise, self.CLASSES, title="matrix")
        assert figure is not None
        axis = figure.axes[0]
        assert axis.get_title(loc="left") == "What labels become, the 2 largest of 3 classes"
        assert axis.get_xlabel() == "given class (30.0% became others)"  # 12 of 24 and 16

    def test_without_wrong_labels_there_is_none(self, tmp_path: Path) -> None:
        noise = noise_of(tmp_path / "none", dataset(tmp_path), LabelRule())[1]
        assert noise_targets(noise, self.CLASSES, title="none") is None

    def test_added_sequences_are_said(self, tmp_path: Path) -> None:
        data = dataset(tmp_path, IngestOptions(hold_out_families=("PF3",)))
        rule = LabelRule("symmetric", 0.5, open_set_rate=0.1)
        noise = noise_of(tmp_path / "o", data, rule)[1]
        figure = noise_targets(noise, Classes(("PF1", "PF2"), ("CL1", "CL1")), title="open")
        assert figure is not None
        assert "4 heldout sequences were added, not shown here." in figure.get_suptitle()


class TestKeptFractions:
    def test_shares_of_a_panel_are_by_hand(self) -> None:
        figure = kept_fractions({"random": np.array([0.51, 0.51, 0.74, 1.0])})
        assert figure is not None
        [axis] = figure.axes
        heights = axis.patches[0].get_data().values
        assert np.flatnonzero(heights).tolist() == [20, 29, 39]
        assert heights[[20, 29, 39]].tolist() == [0.5, 0.25, 0.25]
        assert axis.get_title(loc="left") == "random: mean 69.0%, whole 25.0%"

    def test_nothing_cropped_is_no_figure(self) -> None:
        assert kept_fractions({}) is None


@pytest.mark.slow
class TestNoiseFolders:
    def test_one_panel_for_each_crop_rule_and_one_figure_for_each_wrong_labels(
        self, tmp_path: Path
    ) -> None:
        data = dataset(tmp_path)
        first = CropRule("first", num_residues=30)
        settings = {
            "whole": (LabelRule(), CropRule()),
            "crop": (LabelRule(), first),
            "crop + label 50%": (LabelRule("pair", 0.5), first),
            "random": (LabelRule("symmetric", 0.5), CropRule("random")),
        }
        noises = {
            name: noise_of(tmp_path / str(place), data, *rules)[0]
            for place, (name, rules) in enumerate(settings.items())
        }
        figures = noise_figures(noises, data)
        assert list(figures) == [
            "noise_rates",
            "noise_targets_crop_label_50",
            "noise_targets_random",
            "noise_crops",
        ]
        titles = [
            axis.get_title(loc="left").partition(":")[0] for axis in figures["noise_crops"].axes
        ]
        assert titles == ["first (crop, crop + label 50%)", "random"]
        # Of 60 sequences those of 30 residues and less are whole, and so they are by hand.
        lengths = [len(s) for s in read_sequences(data)["sequence"].to_pylist()]
        kept = np.mean([min(30, length) / length for length in lengths])
        [line] = figures["noise_crops"].axes[0].get_lines()
        assert line.get_xdata()[0] == pytest.approx(kept)

    def test_files_are_png_and_svg(self, tmp_path: Path) -> None:
        data = dataset(tmp_path)
        folder, _ = noise_of(tmp_path / "noise", data, LabelRule("pair", 0.5))
        written = write_noise_figures({"pair": folder}, data, tmp_path / "figures")
        stems = ("noise_rates", "noise_targets_pair")
        assert [p.name for p in written] == [f"{s}.{e}" for s in stems for e in ("png", "svg")]

    def test_noise_of_other_data_is_an_input_error(self, tmp_path: Path) -> None:
        folder, _ = noise_of(tmp_path / "noise", dataset(tmp_path), LabelRule())
        other = dataset(tmp_path, longest=70)
        with pytest.raises(InputError, match=r"noise: Expected noise of the data set with digest"):
            noise_figures({"none": folder}, other)

    def test_no_folder_is_a_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match="Expected `noises` with at least one folder, got none"
        ):
            noise_figures({}, dataset(tmp_path))


def test_a_stem_of_a_file_is_not_taken_twice() -> None:
    assert new_stem("noise_targets_A+B", []) == "noise_targets_a_b"
    assert new_stem("noise_targets_A-B", ["noise_targets_a_b"]) == "noise_targets_a_b_2"
