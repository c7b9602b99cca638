"""Files of this machine into a run; both functions raise what the store raises."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def copy_files(
    client: MlflowClient, run_id: str, paths: Iterable[Path], artifact_path: str | None = None
) -> None:
    """Copy files and the content of folders to a run."""
    for path in paths:
        if path.is_dir():
            client.log_artifacts(run_id, str(path), artifact_path)
        else:
            client.log_artifact(run_id, str(path), artifact_path)


def show_images(client: MlflowClient, run_id: str, paths: Iterable[Path]) -> None:
    """Log PNG files as image cards."""
    from PIL import Image

    for path in paths:
        with Image.open(path) as image:
            client.log_image(run_id, image.convert("RGB"), key=path.stem, step=0, synchronous=True)
