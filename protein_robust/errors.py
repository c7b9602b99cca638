"""What went wrong, as facts: what was expected, what came, and where.

Everything that is the user's mistake is an `InputError`; the command line turns it into one message
and exit code 2. Wrong arguments in Python code raise plain `ValueError` or `TypeError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike


class ProteinRobustError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(ProteinRobustError, ValueError):
    """An input that cannot be used as it is.

    Args:
        expected: what would have been right, as the end of the sentence "Expected ...".
        actual: what came instead, as the end of "got ...".
        path: the file at fault, if there is one.
        line: its line, counted from 1.

    Example:
        >>> str(InputError("a residue letter", "'1'", path="a.csv", line=3))
        "a.csv:3: Expected a residue letter, got '1'."
    """

    def __init__(
        self,
        expected: str,
        actual: str,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
    ) -> None:
        """Keep the facts; the message is composed from them."""
        self.expected = expected
        self.actual = actual
        self.path = None if path is None else str(path)
        self.line = line
        super().__init__(f"{self.where}Expected {expected}, got {actual}.")

    @property
    def where(self) -> str:
        """`path:line: `, `path: `, or nothing."""
        if self.path is None:
            return ""
        return f"{self.path}: " if self.line is None else f"{self.path}:{self.line}: "


@dataclass(frozen=True)
class Problem:
    """One wrong entry of a configuration.

    Attributes:
        key: dotted path of the entry, such as ``training.epochs``.
        message: what was expected and what came, with the nearest valid key where one is unknown.
        line: its line in the file, counted from 1, where it stands in a file.
    """

    key: str
    message: str
    line: int | None = None


class ConfigError(ProteinRobustError, ValueError):
    """Every problem of a configuration at once.

    Args:
        problems: what is wrong, one entry each.
        path: the file, if it came from one.
    """

    def __init__(
        self, problems: Sequence[Problem], *, path: str | PathLike[str] | None = None
    ) -> None:
        """Keep the problems; the message has one line for each."""
        self.problems = tuple(problems)
        self.path = None if path is None else str(path)
        source = self.path or "configuration"
        count = len(self.problems)
        lines = [f"{source}: {count} problem{'s' if count != 1 else ''}"]
        for problem in self.problems:
            at = source if problem.line is None else f"{source}:{problem.line}"
            lines.append(f"  {at}: {problem.key}: {problem.message}")
        super().__init__("\n".join(lines))
