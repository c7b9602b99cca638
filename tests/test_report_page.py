"""The page of a study: the numbers of its tables, nothing from outside, everything escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protein_robust.losses import make_loss
from protein_robust.report import page as page_module
from protein_robust.report.calibration_figures import RELIABILITY_COLUMNS
from protein_robust.report.comparisons import compare_methods
from protein_robust.report.frames import StudyFrames
from protein_robust.report.group_figures import GROUP_COLUMNS
from protein_robust.report.measure_tables import calibration_display, unknown_display
from protein_robust.report.page import study_markdown, study_page
from protein_robust.report.pictures import CAPTIONS, draw_pictures
from protein_robust.report.rendering import display_frame
from protein_robust.report.sections import Image, StudyFacts, study_sections
from protein_robust.report.tables import details_table, measures_table, talk_table
from protein_robust.report.writing import write_figures, write_study

COLUMNS = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
METRICS = {
    "accuracy": 0.8,
    "entropy_confidence": 0.6,
    "max_probability": 0.7,
    "expected_calibration_error": 0.1,
    "calibrated_expected_calibration_error": 0.02,
    "negative_log_likelihood": 0.75,
    "calibrated_negative_log_likelihood": 0.5,
    "confidence_gap": -0.1,
    "calibrated_confidence_gap": 0.01,
    "macro_f1": 0.77,
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Checks that elements are closed in order, and gathers what is in them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = StringIO()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.write(data)


def read(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    return outline


def results(noise: str = "crop", losses: tuple[str, ...] = ("SCE", "CE")) -> pd.DataFrame:
    rows = [
        (noise, loss, seed, point, data, metric, value + 0.01 * place + 0.02 * seed)
        for place, loss in enumerate(losses)
        for seed in (0, 1)
        for point in ("final", "best")
        for data in ("test", "train", "valid", "test_whole")
        for metric, value in METRICS.items()
    ]
    rows += [(noise, loss, 0, "final", "valid", "temperature", 1.5) for loss in losses]
    return pd.DataFrame(rows, columns=COLUMNS)


def predictions() -> pd.DataFrame:
    rows = [
        ("crop", loss, seed, row, "PF1", "PF1" if row < right else "PF2")
        for loss, right in (("SCE", 50), ("CE", 20))
        for seed in (0, 1)
        for row in range(60)
    ]
    names = ["noise", "loss", "seed", "row", "clean_label", "prediction"]
    return pd.DataFrame(rows, columns=names)


def unknown() -> pd.DataFrame:
    rows = [
        ("crop", loss, seed, "shuffled", "energy", 60, 60, 0.9 + 0.02 * seed, 0.9, 0.3)
        for loss in ("SCE", "CE")
        for seed in (0, 1)
    ]
    names = ["noise", "loss", "seed", "kind", "score", "num_known", "num_unknown", "auroc"]
    return pd.DataFrame(rows, columns=[*names, "aupr", "fpr_at_95_tpr"])


def frames(noise: str = "crop", losses: tuple[str, ...] = ("SCE", "CE")) -> StudyFrames:
    said = predictions()
    return StudyFrames(
        results(noise, losses),
        predictions=said,
        comparisons=compare_methods(said, np.random.default_rng(0)),
        unknown=unknown(),
    )


FACTS = StudyFacts(
    "tiny", "Two losses.", digest="abc123", data=[("families", "3")], command="run it", commit="f00"
)
PNG = b"\x89PNG\r\n\x1a\n0"
IMAGES = [Image("training_dynamics_crop", "training_dynamics", "crop", PNG)]


def page(facts: StudyFacts = FACTS, made: StudyFrames | None = None) -> str:
    return study_page(facts, made or frames(), IMAGES)


class TestPage:
    @pytest.mark.parametrize("table", [talk_table, details_table, measures_table])
    def test_numbers_are_the_text_of_the_tables(self, table: object) -> None:
        assert callable(table)
        shown = read(page()).text.getvalue()
        for row in display_frame(table(results())).to_numpy().tolist():
            assert "".join(row) in shown

    def test_nothing_comes_from_outside(self) -> None:
        outline = read(page())
        links = [value for _, name, value in outline.attributes if name in ("src", "href")]
        assert links
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
        assert not {"script", "link", "iframe"} & {tag for tag, _, _ in outline.attributes}
        assert "http" not in page()

    def test_contents_lead_to_the_sections(self) -> None:
        outline = read(page())
        links = {v[1:] for tag, name, v in outline.attributes if tag == "a" and name == "href"}
        anchors = {v for tag, name, v in outline.attributes if tag == "h2" and name == "id"}
        assert links == anchors
        assert "which-differences-are-real" in links

    def test_what_the_study_is_stands_in_it(self) -> None:
        shown = read(page()).text.getvalue()
        for text in ("Two losses.", "abc123", "f00", "run it", "SCE is better than CE by"):
            assert text in shown

    def test_synthetic_data_are_named_in_the_title(self) -> None:
        made = page(StudyFacts("tiny", is_synthetic=True))
        assert "<h1>tiny (synthetic data)</h1>" in made
        assert "say nothing of real proteins" in made
        assert "synthetic" not in page()

    def test_names_are_escaped(self) -> None:
        evil = '<script>alert("x")</script>'
        facts = StudyFacts(evil, evil, data=[(evil, evil)], command=evil, commit=evil)
        images = [Image("a", "training_dynamics", evil, PNG)]
        made = study_page(facts, frames(evil, (evil, "CE")), images)
        assert "<script" not in made
        assert "alert" in read(made).text.getvalue()
        assert not any(evil in value for _, name, value in read(made).attributes if name == "src")

    def test_figures_are_inside_with_a_caption(self) -> None:
        made = page()
        assert made.count('<img alt="Training dynamics: crop" src="data:image/png;base64,') == 1
        assert CAPTIONS["training_dynamics"][1] in read(made).text.getvalue()

    def test_figures_past_the_limit_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(page_module, "MAX_IMAGE_BYTES", 3)
        made = page()
        assert "<img" not in made
        assert "see training_dynamics_crop.png" in made

    def test_sections_without_anything_to_say_are_left_out(self) -> None:
        bare = StudyFrames(results().query("data == 'test' and metric == 'accuracy'"))
        made = [section.title for section in study_sections(StudyFacts("tiny"), bare, [])]
        assert made == [
            "The study",
            "Accuracy and confidence",
            "Final and best networks",
            "What is right, and where",
            "Details",
        ]

    def test_clans_and_whole_sequences_are_named_where_there_are_some(self) -> None:
        more = results().query("metric == 'accuracy'").assign(metric="clan_accuracy")
        every = pd.concat([results(), more])
        with_clans = page(made=StudyFrames(every, clans={"PF1": "CL1", "PF2": None}))
        assert "clan accuracy takes a relative for right; whole sequences are not" in with_clans
        assert "<td>clan accuracy</td>" in with_clans
        without = page(made=StudyFrames(every, clans={"PF1": None}))
        assert "however many examples it has; whole sequences are not cropped." in without
        assert "clan accuracy" not in without
        images = page(made=StudyFrames(results().query("data != 'test_whole'")))
        assert "however many examples it has.</p>" in images

    def test_long_tables_of_pairs_are_told_in_words(self) -> None:
        many = pd.concat([frames().comparisons] * 101, ignore_index=True)
        made = page(made=StudyFrames(results(), comparisons=many))
        assert "The 101 pairs are in comparisons.csv." in made

    def test_markdown_shows_the_figures_beside_it(self) -> None:
        made = study_markdown(FACTS, frames(), IMAGES, figures="figures")
        assert made.startswith("# tiny\n")
        assert "![Training dynamics: crop](figures/training_dynamics_crop.png)" in made
        # 0.8 and 0.82 of the first loss, one more of the second, which is the best.
        assert "| crop | accuracy | test | 81.0 ± 1.4 | **82.0 ± 1.4** |" in made


class TestMeasureTables:
    def test_calibration_stands_before_and_after(self) -> None:
        row = calibration_display(results()).iloc[0]
        assert row["temperature"] == "1.50"
        # Means over seeds 0 and 0.02 apart: 0.11 and 0.03; the gap is -0.09 and 0.02.
        assert row["ECE"] == "11.0 \N{RIGHTWARDS ARROW} 3.0"
        assert row["NLL"] == "0.760 \N{RIGHTWARDS ARROW} 0.510"
        assert row["gap"] == "-9.0 \N{RIGHTWARDS ARROW} +2.0"
        assert "Brier error" not in row

    def test_a_method_without_scaling_is_left_out(self) -> None:
        baseline = ("crop", "HMM", 0, "final", "test", "accuracy", 0.9)
        both = pd.concat([results(), pd.DataFrame([baseline], columns=COLUMNS)])
        assert calibration_display(both)["loss"].tolist() == ["SCE", "CE"]

    def test_unknown_has_a_column_for_each_loss(self) -> None:
        made = unknown_display(unknown())
        assert made.to_numpy().tolist() == [
            ["crop", "shuffled", "energy", "AUROC", "0.910 ± 0.014", "0.910 ± 0.014"],
            ["crop", "shuffled", "energy", "FPR at 95 % TPR", "0.300 ± 0.000", "0.300 ± 0.000"],
        ]

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `unknown` .*got none named auroc"):
            unknown_display(unknown().drop(columns="auroc"))


@pytest.mark.slow
class TestFiles:
    def test_a_study_is_written_whole(self, tmp_path: Path) -> None:
        losses = {"SCE": make_loss("symmetric_cross_entropy")}
        written = write_study(frames(), tmp_path, facts=FACTS, losses=losses)
        names = [str(path.relative_to(tmp_path)) for path in written]
        assert names[-2:] == ["report.html", "report.md"]
        assert {"table.csv", "details.md", "comparisons.csv", "checkpoints.parquet"} <= set(names)
        kinds = ("protein_table", "method_comparison", "clan_confusion_crop")
        made = [*kinds, "unknown_detection_crop", "loss_shapes"]
        assert [name for name in names if name.endswith(".png")] == [
            f"figures/{name}.png" for name in made
        ]
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert html.count("<img") == 4  # the table is there as text

    def test_same_values_give_the_same_bytes(self, tmp_path: Path) -> None:
        first = write_study(frames(), tmp_path / "a", facts=FACTS)
        second = write_study(frames(), tmp_path / "b", facts=FACTS)
        # Parquet and CSV come from the same frames, so the pages are what could differ.
        assert first[-2].read_bytes() == second[-2].read_bytes()

    def test_figures_take_every_frame(self, tmp_path: Path) -> None:
        extra = StudyFrames(results(), kept_fractions=kept_fractions())
        written = write_figures(results(), pd.DataFrame(), tmp_path, frames=extra)
        assert [path.stem for path in written if path.suffix == ".svg"] == [
            "protein_table",
            "method_comparison",
            "robustness_by_kept_fraction_crop",
        ]

    def test_every_kind_of_picture_has_a_caption_and_its_place(self) -> None:
        made = draw_pictures(frames())
        assert {picture.kind for picture in made.values()} <= set(CAPTIONS)
        images = [Image(kind, kind, "", PNG) for kind in CAPTIONS]
        shown = [
            block.kind
            for section in study_sections(FACTS, frames(), images)
            for block in section.blocks
            if isinstance(block, Image)
        ]
        assert sorted([*shown, "protein_table"]) == sorted(CAPTIONS)

    def test_frames_without_rows_are_passed_over(self) -> None:
        empty = StudyFrames(
            results().iloc[:0],
            reliability=pd.DataFrame(columns=list(RELIABILITY_COLUMNS)),
            groups=pd.DataFrame(columns=list(GROUP_COLUMNS)),
        )
        assert draw_pictures(empty) == {}


def kept_fractions() -> pd.DataFrame:
    rows = [("crop", "CE", 0, 1.0, 0.8), ("crop", "CE", 0, 0.5, 0.4)]
    return pd.DataFrame(rows, columns=["noise", "loss", "seed", "kept_fraction", "accuracy"])
