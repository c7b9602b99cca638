"""Measure one training step of ProtCNN: forward, loss, backward, clipping and the AdamW update.

Sequences are random residues with lengths like those of Pfam domains, cut into batches as training
cuts them. Nothing is printed that was not measured. No MLflow, matplotlib or Biopython is needed.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import Batch, SequenceBatches, SequenceDataset
from protein_robust.errors import InputError
from protein_robust.losses import LOSSES, Loss, LossContext, batch_objective, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule
from protein_robust.training import FitOptions, make_optimizer

MEAN_LENGTH = 155
LENGTH_SIGMA = 0.7
"""Standard deviation of the logarithm of the lengths."""
LENGTH_LIMITS = (20, 2000)
WINDOW = 16
"""Batches that `plan_batches` sorts together: a data set must be at least as large."""
LOGIT_TOLERANCE = 1e-4
"""Largest allowed difference of GPU and CPU logits in fp32, as a fraction of the largest logit."""
MEMORISING_STEPS = 30
PAPER_CLASSES = 17929
PLAIN_LOSSES = [
    name for name, loss in LOSSES.items() if not {"new_memory", "teacher"} & set(dir(loss))
]
"""Those that need neither a memory nor a teacher."""
Rows = dict[str, object]
"""What is printed: name and value."""


@dataclass(frozen=True)
class Measurement:
    """Sums over the measured steps.

    Attributes:
        num_steps: optimiser updates.
        num_sequences: in all batches.
        num_residues: in all batches, without padding.
        num_positions: in all batches, with padding.
        seconds: wall time of all steps.
    """

    num_steps: int
    num_sequences: int
    num_residues: int
    num_positions: int
    seconds: float


def main() -> int:
    """Check (on a GPU), measure, print; the exit code is 1 where a check fails."""
    options = parse()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    config = ProtCNNConfig.paper() if options.paper else ProtCNNConfig(width=options.width)
    generator = torch.Generator().manual_seed(options.seed)
    model = ProtCNN(config, options.classes, generator=generator)
    rows = describe(options, model)
    if device.type == "cuda":
        checks, is_right = check_device(model, device, seed=options.seed)
        rows |= checks
        if not is_right:
            show(rows, as_json=options.json)
            print("error: a check failed, so nothing was measured", file=sys.stderr)
            return 1
        torch.cuda.reset_peak_memory_stats(device)
    loss = make_loss(options.loss)
    measured = measure(model.to(device), loss, make_batches(options, device), options)
    rows |= summarise(measured, peak_bytes(device))
    show(rows, as_json=options.json)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--paper", action="store_true", help="the published size, 17,929 classes")
    parser.add_argument("--width", type=int, default=48, help="channels of the trunk (48)")
    parser.add_argument("--classes", type=int, help="families (100; with --paper 17929)")
    parser.add_argument("--loss", choices=PLAIN_LOSSES, default="cross_entropy")
    parser.add_argument("--batch-size", type=int, default=32, help="sequences (32)")
    parser.add_argument("--max-residues", type=int, default=65536, help="positions (65536)")
    parser.add_argument("--steps", type=int, default=50, help="that are measured (50)")
    parser.add_argument("--warmup", type=int, default=5, help="steps before those (5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--seed", type=int, default=0, help="of sequences and weights (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    counts = (options.width, options.batch_size, options.max_residues, options.steps)
    if min(*counts, options.threads) < 1 or options.warmup < 0:
        parser.error("expected numbers of at least 1 (--warmup 0)")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here")
    options.classes = options.classes or (PAPER_CLASSES if options.paper else 100)
    return options


def draw_lengths(num_sequences: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw lengths like those of Pfam domains, shape (N,), int64, in residues."""
    # The mean of a lognormal variable is exp(mu + sigma^2 / 2).
    mu = np.log(MEAN_LENGTH) - LENGTH_SIGMA**2 / 2
    lengths = rng.lognormal(mu, LENGTH_SIGMA, num_sequences)
    return lengths.clip(*LENGTH_LIMITS).astype(np.int64)


def random_dataset(
    num_sequences: int, num_classes: int, *, device: torch.device, seed: int
) -> SequenceDataset:
    """Draw random residues and random labels."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(STANDARD_RESIDUES))
    lengths = draw_lengths(num_sequences, rng)
    sequences = pa.array(["".join(rng.choice(letters, length)) for length in lengths])
    labels = rng.integers(0, num_classes, num_sequences)
    return SequenceDataset.from_arrow(sequences, labels, device=device)


def make_batches(options: argparse.Namespace, device: torch.device) -> SequenceBatches:
    """Batches as training has them, without crops."""
    num_sequences = options.batch_size * max(WINDOW, options.steps)
    dataset = random_dataset(num_sequences, options.classes, device=device, seed=options.seed)
    return SequenceBatches(
        dataset,
        CropRule(),
        batch_size=options.batch_size,
        max_residues=options.max_residues,
        seed=options.seed,
    )


def forever(batches: SequenceBatches) -> Iterator[tuple[Batch, int]]:
    """Batches of epoch after epoch, each with its number of residues, counted on the host."""
    number = 0
    while True:
        epoch = batches.epoch(number)
        for index, batch in zip(epoch.plan, epoch, strict=True):
            yield batch, int(epoch.crops.length[index].sum())
        number += 1


def step(model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    """One update, as `protein_robust.training.fit` does it; returns the mean loss."""
    device = batch.label.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(batch.inputs, batch.mask)
    values = loss(logits, batch.label, LossContext(progress=0.5, index=batch.index))
    optimizer.zero_grad(set_to_none=True)
    batch_objective(loss, values).backward()
    nn.utils.clip_grad_norm_(model.parameters(), FitOptions().clip_norm or float("inf"))
    optimizer.step()
    return values.detach().mean()


def measure(
    model: nn.Module, loss: Loss, batches: SequenceBatches, options: argparse.Namespace
) -> Measurement:
    """Time the steps after the warm-up, cutting of batches included."""
    device = batches.dataset.tokens.device
    optimizer = make_optimizer(model.train(), FitOptions())
    source = forever(batches)
    for _ in range(options.warmup):
        step(model, loss, optimizer, next(source)[0])
    sequences = residues = positions = 0
    wait = torch.cuda.synchronize if device.type == "cuda" else torch.cpu.synchronize
    wait()
    started = time.perf_counter()
    for _ in range(options.steps):
        batch, num_residues = next(source)
        step(model, loss, optimizer, batch)
        sequences += len(batch.label)
        residues += num_residues
        positions += batch.inputs.numel()
    wait()
    seconds = time.perf_counter() - started
    return Measurement(options.steps, sequences, residues, positions, seconds)


def check_device(model: ProtCNN, device: torch.device, *, seed: int) -> tuple[Rows, bool]:
    """Compare the device's logits with the CPU's, and see it learn a few sequences."""
    error = logit_error(model, device, seed=seed)
    losses = memorise(model.config, device, seed=seed)
    first, last = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    is_learning = bool(np.isfinite(losses).all()) and last < first
    rows: Rows = {
        f"logits, GPU and CPU fp32: difference / largest (at most {LOGIT_TOLERANCE:g})": error,
        "memorising, loss of the first 5 steps": first,
        f"memorising, loss of the last 5 of {len(losses)} steps (must be lower)": last,
    }
    return rows, error <= LOGIT_TOLERANCE and is_learning


def logit_error(model: ProtCNN, device: torch.device, *, seed: int) -> float:
    """Largest difference of the logits on a device and on the CPU, over the largest logit."""
    batch = whole_batch(random_dataset(8, 2, device=torch.device("cpu"), seed=seed))
    reference = deepcopy(model)
    # TF32 keeps 10 bits of the mantissa: it would be measured instead of the code.
    flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.no_grad(), flags:
        reference.train()(batch.inputs, batch.mask)  # running statistics other than 0 and 1
        expected = reference.eval()(batch.inputs, batch.mask)
        mask = None if batch.mask is None else batch.mask.to(device)
        actual = deepcopy(reference).to(device)(batch.inputs.to(device), mask).cpu()
    return float((actual - expected).abs().max() / expected.abs().max())


def memorise(config: ProtCNNConfig, device: torch.device, *, seed: int) -> NDArray[np.float64]:
    """Losses of training on one batch of 32 sequences with 8 random classes, shape (steps,)."""
    generator = torch.Generator().manual_seed(seed)
    model = ProtCNN(config, 8, generator=generator).to(device).train()
    optimizer = make_optimizer(model, FitOptions(learning_rate=1e-3))
    batch = whole_batch(random_dataset(32, 8, device=device, seed=seed))
    loss = make_loss("cross_entropy")
    losses = [step(model, loss, optimizer, batch) for _ in range(MEMORISING_STEPS)]
    return torch.stack(losses).double().cpu().numpy()


def whole_batch(dataset: SequenceDataset) -> Batch:
    """All of a small data set at once."""
    batches = SequenceBatches(dataset, CropRule(), len(dataset), 10**9, seed=0)
    return next(iter(batches.epoch(0)))


def peak_bytes(device: torch.device) -> int:
    """Most memory at a time: tensors on the GPU, or the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB


def describe(options: argparse.Namespace, model: ProtCNN) -> Rows:
    """What is measured, on what."""
    is_gpu = options.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_gpu else platform.machine(),
        "torch": torch.__version__,
        "precision": "bf16 autocast" if is_gpu else "fp32",
        "CPU threads": options.threads,
        "width": model.config.width,
        "classes": options.classes,
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": options.loss,
        "batch size, at most": options.batch_size,
        "positions a batch, at most": options.max_residues,
    }


def summarise(measured: Measurement, peak: int) -> Rows:
    """What was measured."""
    return {
        "steps": measured.num_steps,
        "sequences": measured.num_sequences,
        "mean length (residues)": measured.num_residues / measured.num_sequences,
        "padding fraction": 1 - measured.num_residues / measured.num_positions,
        "milliseconds a step": 1000 * measured.seconds / measured.num_steps,
        "sequences a second": measured.num_sequences / measured.seconds,
        "residues a second": measured.num_residues / measured.seconds,
        "peak memory (MiB)": peak / 2**20,
    }


def show(rows: Rows, *, as_json: bool) -> None:
    """Print the rows as a table or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        is_small = isinstance(value, float) and abs(value) < 1000
        text = str(value) if isinstance(value, str) else f"{value:{'.4g' if is_small else ',.0f'}}"
        print(f"{name:<{width}}  {text:>14}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, ValueError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
