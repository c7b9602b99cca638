"""How far the reading of images is."""

from __future__ import annotations

from protein_robust.ingest.columns import OnProgress


class Meter:
    """Adds up what has been read, and tells it.

    Args:
        on_progress: told so; None for nobody.
        num_bytes: of all files.
    """

    def __init__(self, on_progress: OnProgress | None, num_bytes: int) -> None:
        """Nothing read yet."""
        self._on_progress = on_progress
        self._total = num_bytes
        self._records = 0
        self._bytes = 0.0

    def add(self, records: int, num_bytes: float) -> None:
        """Tell of what has been read since the last time.

        Args:
            records: images.
            num_bytes: bytes of the files, perhaps estimated.
        """
        self._records += records
        self._bytes = min(self._bytes + num_bytes, self._total)
        if self._on_progress is not None:
            self._on_progress(self._records, round(self._bytes), self._total)

    def finish(self) -> None:
        """Tell that all has been read."""
        self.add(0, self._total)
