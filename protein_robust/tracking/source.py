"""What wrote a run: this package, and which version of it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def source_tags() -> dict[str, str]:
    """Say what wrote a run: this package and, from a checkout of its source, the commit."""
    tags = {"mlflow.source.name": "protein_robust", "mlflow.source.type": "PROJECT"}
    commit = _git_commit(Path(__file__).resolve().parent)
    return tags if commit is None else {**tags, "mlflow.source.git.commit": commit}


def _git_commit(folder: Path) -> str | None:
    """Give the commit checked out at a folder, None outside a checkout or without git."""
    if "site-packages" in folder.parts:  # a virtual environment may lie in someone else's checkout
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
