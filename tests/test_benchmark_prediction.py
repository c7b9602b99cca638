"""The benchmark of `predict`: what it makes can be classified, and it prints what it measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
pytestmark = pytest.mark.slow


def measured(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "prediction.py"), "--rounds", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_row_for_each_output_with_speed_and_memory() -> None:
    done = measured("--sequences", "300", "--output", "tsv", "--output", "gff3", "--json")
    found = json.loads(done.stdout)
    assert found["about"]["sequences"] == 300
    assert [row["output"] for row in found["tables"]["predict"]] == ["tsv", "gff3"]
    for row in found["tables"]["predict"]:
        assert 0 < row["s without start-up"] <= row["s in all"]
        assert row["sequences/s"] > 0
        assert row["peak memory in MB"] > 50  # an interpreter with PyTorch is larger
    tsv = found["tables"]["predict"][0]
    assert tsv["MB written"] > 0


def test_without_options_it_prints_markdown() -> None:
    done = measured("--sequences", "50")
    assert re.search(r"\| tsv \| [\d.]+ \|", done.stdout)
