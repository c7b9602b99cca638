"""Measure every loss against torch's cross entropy: alone, in a training step, and its memory.

All that is compared is run in turns, one evaluation each, so that whatever else the machine does
hits all alike; only ratios are meant to be read. Nothing is printed that was not measured.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# From this folder, where a script finds its neighbours.
from training_data import median_batch
from turns import (
    Seconds,
    Table,
    interleave,
    keep_freed_memory,
    peak_bytes,
    ratio,
    show,
    spread,
)

from protein_robust.datasets import Batch
from protein_robust.errors import InputError
from protein_robust.losses import LOSSES, LossContext, batch_objective, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.training import FitOptions, make_optimizer

PARTS = ("alone", "memory", "step")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "confidence_penalty, T = 0.4": ("confidence_penalty", {"temperature": 0.4}),
    "bootstrap_soft, T = 0.5": ("bootstrap_soft", {"temperature": 0.5}),
    "proselflc, T = 0.5": ("proselflc", {"temperature": 0.5}),
    "proselflc, G0": ("proselflc", {"detach_trust": False}),
}
"""Besides each loss with its defaults: settings that take another way through the code."""
SETTINGS = (("quick start", 32, 100, 32), ("quick start", 32, 100, 256), ("large", 128, 17929, 256))
"""Of the step: name, width, K and B."""
BASELINE = "F.cross_entropy"
LABEL_ENTRIES = 16
"""Classes of each corrected label, for a loss that learns from labels."""


@dataclass(frozen=True)
class Case:
    """A loss with all it needs, or torch's cross entropy.

    Attributes:
        loss: None for torch's own.
        context: for one batch.
    """

    loss: Any
    context: LossContext

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The objective of a batch, shape ()."""
        if self.loss is None:
            return functional.cross_entropy(logits, labels)
        return batch_objective(self.loss, self.loss(logits, labels, self.context))


def main() -> int:
    """Measure the parts asked for and print them."""
    options = parse()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    tables: dict[str, Table] = {}
    if "alone" in options.part:
        tables["alone: forward and backward"] = measure_alone(options)
    if "memory" in options.part:
        tables["memory: peak over what was there, in (B, K) fp32 arrays"] = measure_memory(options)
    for name, width, num_classes, size in SETTINGS if "step" in options.part else ():
        shape = Namespace(**{**vars(options), "classes": num_classes, "batch_size": size})
        title = f"step: {name}, width {width}, K = {num_classes}, B = {size}"
        tables[title] = measure_step(shape, width)
    show(describe(options), tables, as_json=options.json)
    return 0


def parse() -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", action="append", choices=list(LOSSES), help="repeat; all")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat; all")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--batch-size", type=int, default=256, help="B, not of the step (256)")
    parser.add_argument("--classes", type=int, default=17929, help="K, not of the step (17929)")
    parser.add_argument("--compile", action="store_true", help="also under torch.compile, alone")
    parser.add_argument("--rounds", type=int, default=20, help="measured, of each (20)")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before those (3)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    options = parser.parse_args()
    if min(options.batch_size, options.rounds, options.threads) < 1 or options.classes < 2:
        parser.error("expected numbers of at least 1, and --classes of at least 2")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here")
    options.part = options.part or list(PARTS)
    return options


def chosen(names: Sequence[str] | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Losses and their variants, by what they are called in the table."""
    every: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in LOSSES} | VARIANTS
    return {title: made for title, made in every.items() if names is None or made[0] in names}


def make_case(
    name: str, parameters: dict[str, Any], *, index: Tensor, num_examples: int, num_classes: int
) -> Case:
    """A loss with the memory and the teacher that it asks for; progress is 1 / 2.

    Args:
        name: of `LOSSES`.
        parameters: of the loss.
        index: of the batch, shape (B,), int64.
        num_examples: N, of the training set.
        num_classes: K.
    """
    loss: Any = make_loss(name, **parameters)
    generator = torch.Generator().manual_seed(1)
    memory, told, teacher = None, None, getattr(loss, "teacher", None)
    if hasattr(loss, "new_memory"):
        memory = loss.new_memory(num_examples, num_classes, index.device)
    elif teacher == "labels":
        size = min(LABEL_ENTRIES, num_classes)
        # Distinct in each row, as they are in a label memory.
        first = torch.randint(num_classes, (num_examples, 1), generator=generator)
        classes = (first + torch.arange(size)) % num_classes
        shares = torch.rand(num_examples, size, generator=generator).softmax(dim=1)
        memory = {"classes": classes.int().to(index.device), "shares": shares.to(index.device)}
    if teacher == "network":
        told = torch.randn(len(index), num_classes, generator=generator).to(index.device)
    return Case(loss, LossContext(0.5, index, memory=memory, teacher_logits=told))


def random_case(options: Namespace, title: str) -> tuple[Case, Tensor, Tensor]:
    """A loss (or the baseline) with logits, whose gradient is asked for, and labels."""
    generator = torch.Generator().manual_seed(options.seed)
    size, num_classes = options.batch_size, options.classes
    logits = 3 * torch.randn(size, num_classes, generator=generator)
    labels = torch.randint(num_classes, (size,), generator=generator).to(options.device)
    logits = logits.to(options.device, getattr(torch, options.dtype)).requires_grad_()
    index = torch.arange(size, device=options.device)
    if title == BASELINE:
        return Case(None, LossContext(0.5, index)), logits, labels
    name, parameters = chosen(None)[title]
    case = make_case(name, parameters, index=index, num_examples=size, num_classes=num_classes)
    return case, logits, labels


def pace(options: Namespace) -> dict[str, Any]:
    """How long and where is measured, for `interleave`."""
    return {"rounds": options.rounds, "warmup": options.warmup, "device": options.device}


def columns(seconds: Seconds, name: str) -> dict[str, object]:
    """Of something that was timed, and of the baseline."""
    return {
        "loss": name,
        "ms": 1000 * statistics.median(seconds[name]),
        "ratio": ratio(seconds, name, BASELINE),
        "quartiles": spread(seconds, name, BASELINE),
    }


def forward_backward(
    case: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor
) -> Callable[[], None]:
    """One evaluation with its gradient."""

    def run() -> None:
        logits.grad = None
        case(logits, labels).backward()

    return run


def measure_alone(options: Namespace) -> Table:
    """Time forward and backward of each loss, on given logits."""
    table: Table = []
    for title in chosen(options.loss):
        runs: dict[str, Callable[[], object]] = {}
        for name in (BASELINE, title):
            case, logits, labels = random_case(options, name)
            runs[name] = forward_backward(case, logits, labels)
            if options.compile:
                torch.compiler.reset()
                runs[f"{name}, compiled"] = forward_backward(
                    torch.compile(case.__call__, dynamic=False), logits, labels
                )
        seconds = interleave(runs, **pace(options))
        row = columns(seconds, title)
        if options.compile:
            first, other = f"{title}, compiled", f"{BASELINE}, compiled"
            row |= {
                "compiled / compiled": ratio(seconds, first, other),
                "quartiles, compiled": spread(seconds, first, other),
                "compiled / eager": ratio(seconds, first, BASELINE),
            }
        table.append(row)
    return table


def measure_memory(options: Namespace) -> Table:
    """Peak of forward and backward over what was there before, in units of B * K * 4 bytes."""
    table: Table = []
    unit = options.batch_size * options.classes * 4
    for title in [BASELINE, *chosen(options.loss)]:
        case, logits, labels = random_case(options, title)
        run = forward_backward(case, logits, labels)
        run()  # what is made once and kept is not counted
        logits.grad = None
        table.append({"loss": title, "arrays": peak_bytes(run, options.device) / unit})
    return table


def measure_step(options: Namespace, width: int) -> Table:
    """Time whole training steps: the same batch and the same weights for a loss and the baseline.

    The batch is the one of median size out of those of an epoch. A teacher's forward pass is not in
    the step: its scores are given.
    """
    device = torch.device(options.device)
    data = {"batch_size": options.batch_size, "device": device, "seed": options.seed}
    batch, num_examples = median_batch(options.classes, **data)
    generator = torch.Generator().manual_seed(options.seed)
    model = ProtCNN(ProtCNNConfig(width=width), options.classes, generator=generator).to(device)
    sizes = {"num_examples": num_examples, "num_classes": options.classes}
    table: Table = []
    for title, (name, parameters) in chosen(options.loss).items():
        case = make_case(name, parameters, index=batch.index, **sizes)
        runs = {
            BASELINE: training_step(deepcopy(model), Case(None, case.context), batch),
            title: training_step(deepcopy(model), case, batch),
        }
        table.append(columns(interleave(runs, **pace(options)), title))
    return table


def training_step(model: nn.Module, case: Case, batch: Batch) -> Callable[[], None]:
    """One update, as `protein_robust.training.fit` does it."""
    options = FitOptions()
    optimizer = make_optimizer(model.train(), options)
    device = batch.label.device.type

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits = model(batch.inputs, batch.mask)
        case(logits, batch.label).backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm or float("inf"))
        optimizer.step()

    return run


def describe(options: Namespace) -> dict[str, object]:
    """What is measured, on what."""
    is_gpu = options.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_gpu else platform.machine(),
        "torch": torch.__version__,
        "CPU threads": options.threads,
        "B": options.batch_size,
        "K": options.classes,
        "dtype": options.dtype,
        "dtype of the step": "bf16 autocast" if is_gpu else "float32",
        "rounds": options.rounds,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, ValueError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
