"""What may stand behind an option of the command line: texts to values, or a reason why not."""

from __future__ import annotations

import argparse
from datetime import date


def port(text: str) -> int:
    """A port number of an option."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def fraction_or_none(text: str) -> float | None:
    """A number of an option, or the word `none`."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number or none, got {text!r}") from error


def day(text: str) -> date:
    """A date of an option."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from error


def names_or_count(text: str) -> int | tuple[str, ...]:
    """A number, or names with commas between, of an option."""
    if text.isdigit():
        return int(text)
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected a number, or names, got {text!r}")
    return names


def count(text: str) -> int:
    """A positive number of an option."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)
