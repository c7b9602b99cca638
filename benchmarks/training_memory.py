"""How much memory a data set takes, in a process of its own: ``training_memory.py N DEVICE``.

Prints JSON, in MB (10^6 bytes) over what the interpreter and PyTorch take by themselves. Sequences
are random, with Pfam's mix of lengths.
"""

from __future__ import annotations

import gc
import json
import sys

import psutil  # type: ignore[import-untyped]
import torch  # the only large import before `main` counts

CHUNK = 8192
"""Sequences a chunk of the column: a reader hands them over like this."""


def main() -> int:
    """Build the data set, plan an epoch, cut a batch; print what it took."""
    num_sequences, device = int(sys.argv[1]), sys.argv[2]
    if device == "cuda":
        torch.zeros(1, device=device)  # the driver's own memory
    base = resident_bytes()
    found = build(num_sequences, device)
    print(json.dumps({name: (size - base) / 1e6 for name, size in found.items()}))
    return 0


def build(num_sequences: int, device: str) -> dict[str, int]:
    """Resident bytes of this process after each stage, and the most it ever had."""
    import numpy as np
    import pyarrow as pa
    from ingest_jobs import peak_bytes
    from training_data import Examples, draw_lengths, make_batches, random_column

    from protein_robust.datasets import Share

    found = {"after our imports": resident_bytes()}
    rng = np.random.default_rng(0)
    lengths = draw_lengths(num_sequences, rng)
    cuts = range(CHUNK, num_sequences, CHUNK)
    column = pa.chunked_array([random_column(part, rng) for part in np.split(lengths, cuts)])
    examples = Examples(column, rng.integers(0, 100, num_sequences), 100)
    found["with the column"] = resident_bytes()
    batches = make_batches(examples, batch_size=64, device=device, seed=0)
    found["with the data set, at the peak"] = peak_bytes()
    found["with the data set"] = resident_bytes()
    del column, examples
    gc.collect()
    pa.default_memory_pool().release_unused()
    found["the data set alone"] = resident_bytes()
    epoch = batches.epoch(0)
    epoch.parts(0, Share())[0]()
    found["with a planned epoch and a batch"] = resident_bytes()
    found["the most at any time"] = peak_bytes()
    return found


def resident_bytes() -> int:
    """Of this process, now."""
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    sys.exit(main())
