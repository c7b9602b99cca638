"""Tables from hand-made results."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protein_robust.atomic import replace_file
from protein_robust.report import (
    details_table,
    display_frame,
    flat_tables,
    html_page,
    markdown,
    number_frame,
    rich_table,
    talk_table,
    write_tables,
)
from protein_robust.report.rendering import caption

COLUMNS = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]


def results(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS)


def two_losses() -> pd.DataFrame:
    """Two seeds of two losses; the names are not in alphabetical order."""
    return results(
        ("crop", "SCE", 0, "final", "test", "accuracy", 0.84),
        ("crop", "SCE", 1, "final", "test", "accuracy", 0.86),
        ("crop", "CE", 0, "final", "test", "accuracy", 0.80),
        ("crop", "CE", 1, "final", "test", "accuracy", 0.80),
        ("clean", "SCE", 0, "final", "train", "max_probability", 0.5),
        ("clean", "CE", 0, "final", "train", "max_probability", 0.25),
        ("clean", "CE", 0, "final", "test", "expected_calibration_error", 0.1),
        ("clean", "SCE", 0, "final", "test", "expected_calibration_error", 0.2),
        ("clean", "SCE", 0, "best", "test", "accuracy", 0.7),
    )


class TestTalkTable:
    def test_rows_and_columns_keep_the_order_of_the_study(self) -> None:
        table = talk_table(two_losses())
        assert list(table.mean.columns) == ["SCE", "CE"]
        assert list(table.mean.index) == [
            ("crop", "accuracy", "test"),
            ("clean", "max_probability", "train"),
        ]

    def test_value_is_the_mean_with_the_sample_spread(self) -> None:
        table = talk_table(two_losses())
        row = ("crop", "accuracy", "test")
        assert table.mean.loc[row].tolist() == pytest.approx([0.85, 0.80])
        # Two values 0.02 apart: sd = 0.02 / sqrt(2).
        assert table.spread.loc[row].tolist() == pytest.approx([0.02 / np.sqrt(2), 0.0])
        assert table.num_seeds.loc[row].tolist() == [2, 2]

    def test_one_seed_has_no_spread(self) -> None:
        table = talk_table(two_losses())
        assert table.spread.loc[("clean", "max_probability", "train")].isna().all()

    def test_highest_is_best(self) -> None:
        table = talk_table(two_losses())
        assert table.is_best.to_numpy().tolist() == [[True, False], [True, False]]

    def test_what_prints_the_same_is_a_tie(self) -> None:
        table = talk_table(
            results(
                ("crop", "A", 0, "final", "test", "accuracy", 0.8431),
                ("crop", "B", 0, "final", "test", "accuracy", 0.8429),
                ("crop", "C", 0, "final", "test", "accuracy", 0.8424),
            )
        )
        assert table.is_best.iloc[0].tolist() == [True, True, False]

    def test_only_loss_is_not_marked(self) -> None:
        table = talk_table(results(("crop", "CE", 0, "final", "test", "accuracy", 0.8)))
        assert not table.is_best.to_numpy().any()

    def test_best_checkpoint_is_asked_for_by_name(self) -> None:
        table = talk_table(two_losses(), "best")
        assert list(table.mean.index) == [("clean", "accuracy", "test")]
        assert table.mean.iloc[0, 0] == 0.7

    def test_without_values_it_is_empty(self) -> None:
        table = talk_table(results())
        assert table.mean.shape == (0, 0)
        assert caption(table) == "No values"
        assert markdown(table, "Nothing").startswith("## Nothing")

    def test_missing_column_is_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `results` to have .*got none named seed"):
            talk_table(two_losses().drop(columns="seed"))

    def test_missing_key_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="Expected every key of `results` to be set"):
            talk_table(results((None, "CE", 0, "final", "test", "accuracy", 0.8)))

    def test_value_given_twice_is_an_error(self) -> None:
        row = ("crop", "CE", 0, "final", "test", "accuracy", 0.8)
        with pytest.raises(ValueError, match="got two for crop, CE, 0, final"):
            talk_table(results(row, row))


class TestDetailsTable:
    def test_checkpoints_stand_side_by_side(self) -> None:
        table = details_table(
            results(
                ("crop", "CE", 0, "best", "test_whole", "accuracy", 0.8),
                ("crop", "CE", 0, "final", "test_whole", "accuracy", 0.7),
            )
        )
        assert table.mean["CE"].to_dict() == {
            ("crop", "accuracy", "test_whole", "final"): 0.7,
            ("crop", "accuracy", "test_whole", "best"): 0.8,
        }

    def test_the_best_network_has_the_rows_of_the_talk(self) -> None:
        metrics = ("accuracy", "entropy_confidence", "max_probability")
        keys = [("best", data, metric) for metric in metrics for data in ("test", "train")]
        table = details_table(results(*(("crop", "CE", 0, *key, 0.5) for key in keys)))
        assert list(table.mean.index) == [("crop", m, d, point) for point, d, m in keys]

    @pytest.mark.parametrize(
        ("metric", "data", "is_first_best"),
        [
            ("expected_calibration_error", "test", True),
            ("wrong_fitting", "train", True),
            ("correct_fitting", "train", False),
            ("correction", "train", False),
        ],
    )
    def test_lowest_error_and_highest_score_are_best(
        self, metric: str, data: str, is_first_best: bool
    ) -> None:
        table = details_table(
            results(
                ("crop", "A", 0, "final", data, metric, 0.1),
                ("crop", "B", 0, "final", data, metric, 0.2),
            )
        )
        assert table.is_best.iloc[0].tolist() == [is_first_best, not is_first_best]

    def test_row_without_values_is_left_out(self) -> None:
        table = details_table(
            results(("crop", "A", 0, "final", "train", "wrong_fitting", float("nan")))
        )
        assert len(table.mean) == 0


class TestRendering:
    def test_markdown_has_percentages_and_bold(self) -> None:
        assert markdown(talk_table(two_losses()), "Result").splitlines() == [
            "## Result",
            "",
            "Percent, mean ± sample sd over 1 to 2 seeds; the best of a row is bold.",
            "",
            "| noise | metric | data | SCE | CE |",
            "| --- | --- | --- | ---: | ---: |",
            "| crop | accuracy | test | **85.0 ± 1.4** | 80.0 ± 0.0 |",
            "| clean | max p | train | **50.0** | 25.0 |",
        ]

    def test_bar_in_a_name_does_not_end_its_cell(self) -> None:
        table = talk_table(results(("a|b", "CE", 0, "final", "test", "accuracy", 0.8)))
        assert "| a\\|b | accuracy |" in markdown(table, "x")

    def test_missing_value_is_a_dash(self) -> None:
        table = talk_table(
            results(
                ("crop", "A", 0, "final", "test", "accuracy", 0.8),
                ("clean", "B", 0, "final", "test", "accuracy", 0.8),
            )
        )
        assert display_frame(table)["B"].tolist() == ["\N{EN DASH}", "80.0"]

    def test_lower_is_better_is_said(self) -> None:
        frame = display_frame(details_table(two_losses()))
        assert "calibration error (lower is better)" in frame["metric"].tolist()

    def test_numbers_have_mean_spread_and_count_in_columns_of_their_own(self) -> None:
        frame = number_frame(talk_table(two_losses()))
        names = [f"{loss} {part}" for loss in ("SCE", "CE") for part in ("mean", "sd", "seeds")]
        assert list(frame.columns) == ["noise", "metric", "data", *names]
        assert frame["SCE mean"].tolist() == pytest.approx([0.85, 0.5])

    def test_terminal_has_a_section_for_each_setting(self) -> None:
        from rich.console import Console

        stream = StringIO()
        console = Console(file=stream, width=100, force_terminal=True, color_system="standard")
        console.print(rich_table(talk_table(two_losses()), "Result"))
        text = stream.getvalue()
        assert "\x1b[1m85.0 ± 1.4\x1b[0m" in text
        assert text.index("crop") < text.index("clean")

    @pytest.mark.parametrize("width", [60, 80, 200])
    def test_terminal_never_cuts_a_number(self, width: int) -> None:
        from rich.console import Console

        losses = [f"generalized {i}" for i in range(9)]
        rows = [
            ("crop", loss, seed, "final", "test", "expected_calibration_error", 0.1 + seed / 50)
            for loss in losses
            for seed in (0, 1)
        ]
        stream = StringIO()
        console = Console(file=stream, width=width)
        console.print(rich_table(details_table(results(*rows)), "Result"))
        text = stream.getvalue()
        assert text.count("11.0 ± 1.4") == 9
        assert all(loss in text for loss in losses)
        assert "\N{DOWNWARDS ARROW} lower is better" in " ".join(text.split())
        assert ("(2 of " in text) == (width < 200)

    def test_brackets_in_a_name_are_not_markup(self) -> None:
        from rich.console import Console

        table = talk_table(results(("crop", "GCE [q]", 0, "final", "test", "accuracy", 0.8)))
        stream = StringIO()
        Console(file=stream, width=80).print(rich_table(table, "Result"))
        assert "GCE [q]" in stream.getvalue()

    def test_page_marks_the_best_and_escapes_names(self) -> None:
        table = talk_table(
            results(
                ("crop", "<A>", 0, "final", "test", "accuracy", 0.8),
                ("crop", "B", 0, "final", "test", "accuracy", 0.7),
            )
        )
        page = html_page(table, "Result")
        assert '<td class="best">80.0</td><td class="value">70.0</td>' in page
        assert '<th class="value">&lt;A&gt;</th>' in page

    def test_flat_table_names_each_row_in_its_first_column(self) -> None:
        frame = flat_tables(two_losses())["table"]
        assert frame.iloc[0].tolist() == ["crop | accuracy | test", "85.0 ± 1.4 *", "80.0 ± 0.0"]


class TestFiles:
    def test_tables_are_written_in_every_form(self, tmp_path: Path) -> None:
        written = write_tables(two_losses(), tmp_path / "tables")
        ends = [".csv", ".md", ".html", ".parquet"]
        names = [f"{name}{end}" for name in ("table", "details") for end in ends]
        assert [path.name for path in written] == [*names, "results.parquet"]
        assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == sorted(
            path.name for path in written
        )

    def test_long_results_come_back_as_they_were(self, tmp_path: Path) -> None:
        path = write_tables(two_losses(), tmp_path)[-1]
        pd.testing.assert_frame_equal(pd.read_parquet(path), two_losses())

    def test_spreadsheet_and_parquet_hold_the_same(self, tmp_path: Path) -> None:
        write_tables(two_losses(), tmp_path)
        csv, parquet = (
            pd.read_csv(tmp_path / "table.csv"),
            pd.read_parquet(tmp_path / "table.parquet"),
        )
        pd.testing.assert_frame_equal(csv, parquet)

    def test_writer_that_fails_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")

        def fail(partial: Path) -> None:
            partial.write_text("half")
            raise RuntimeError("disk")

        with pytest.raises(RuntimeError, match="disk"):
            replace_file(path, fail)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]
