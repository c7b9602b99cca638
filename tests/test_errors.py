"""Messages and facts of the package's own errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from protein_robust.errors import ConfigError, InputError, Problem, ProteinRobustError


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        (None, None, "Expected a name, got ''."),
        (Path("a.csv"), None, "a.csv: Expected a name, got ''."),
        ("a.csv", 3, "a.csv:3: Expected a name, got ''."),
    ],
    ids=["nowhere", "file", "line"],
)
def test_an_input_error_says_where_as_far_as_it_is_known(
    path: Path | str | None, line: int | None, message: str
) -> None:
    assert str(InputError("a name", "''", path=path, line=line)) == message


def test_an_input_error_keeps_its_facts() -> None:
    error = InputError("a name", "''", path=Path("a.csv"), line=3)
    assert (error.expected, error.actual, error.path, error.line) == ("a name", "''", "a.csv", 3)


@pytest.mark.parametrize("error", [InputError("x", "y"), ConfigError([])], ids=["input", "config"])
def test_every_error_is_the_packages_own_and_a_value_error(error: Exception) -> None:
    assert isinstance(error, ProteinRobustError)
    assert isinstance(error, ValueError)


def test_a_config_error_counts_its_problems_and_lists_each_on_its_line() -> None:
    problems = [Problem("a.b", "Expected 1, got 2.", line=4), Problem("c", "Unknown key.")]
    assert str(ConfigError(problems, path=Path("x.yaml"))).splitlines() == [
        "x.yaml: 2 problems",
        "  x.yaml:4: a.b: Expected 1, got 2.",
        "  x.yaml: c: Unknown key.",
    ]


def test_a_config_error_without_a_file_speaks_of_the_configuration() -> None:
    error = ConfigError([Problem("c", "Unknown key.")])
    assert str(error) == "configuration: 1 problem\n  configuration: c: Unknown key."


def test_a_config_error_keeps_its_problems_and_path() -> None:
    problem = Problem("c", "Unknown key.")
    error = ConfigError([problem], path=Path("x.yaml"))
    assert (error.problems, error.path) == ((problem,), "x.yaml")
