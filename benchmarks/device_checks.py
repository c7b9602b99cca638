"""Two checks of a GPU before anything is measured on it: its logits are right, and it learns."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

# From this folder, where a script finds its neighbours.
from training_data import cut, draw_lengths, make_batches, random_examples
from training_steps import Field, make_step

from protein_robust.datasets import Parts

LOGIT_TOLERANCE = 1e-4
"""Largest allowed difference of GPU and CPU logits in fp32, as a fraction of the largest logit."""
MEMORISING_STEPS = 30


def check_device(field: Field) -> tuple[dict[str, object], bool]:
    """Compare the device's logits with the CPU's, and see it learn a few sequences.

    Returns:
        What was found, and whether it is right.
    """
    error = logit_error(field)
    losses = memorise(field)
    first, last = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    found: dict[str, object] = {
        f"logits, GPU and CPU fp32: difference / largest (at most {LOGIT_TOLERANCE:g})": error,
        "memorising, loss of the first 5 steps": first,
        f"memorising, loss of the last 5 of {len(losses)} steps (must be lower)": last,
    }
    is_learning = bool(np.isfinite(losses).all()) and last < first
    return found, error <= LOGIT_TOLERANCE and is_learning


def logit_error(field: Field) -> float:
    """Largest difference of the logits on the device and on the CPU, over the largest logit."""
    batch = whole_batch(few(field, 8, num_classes=2, device="cpu"))[0]()
    reference = field.model().cpu()
    # TF32 keeps 10 bits of the mantissa: it would be measured instead of the code.
    flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.no_grad(), flags:
        reference.train()(batch.inputs, batch.mask)  # running statistics other than 0 and 1
        expected = reference.eval()(batch.inputs, batch.mask)
        mask = None if batch.mask is None else batch.mask.to(field.device)
        model = deepcopy(reference).to(field.device)
        actual = model(batch.inputs.to(field.device), mask).cpu()
    return float((actual - expected).abs().max() / expected.abs().max())


def memorise(field: Field) -> NDArray[np.float64]:
    """Mean losses of training on 32 sequences with 8 random classes, shape (steps,)."""
    small = few(field, 32, num_classes=8, device=field.device)
    step, parts = make_step(small, learning_rate=1e-3), whole_batch(small)
    losses = [step(parts)[0] / 32 for _ in range(MEMORISING_STEPS)]
    return torch.stack(losses).double().cpu().numpy()


def few(field: Field, num_sequences: int, *, num_classes: int, device: torch.device | str) -> Field:
    """The same network for a few random sequences in one batch."""
    rng = np.random.default_rng(field.seed)
    examples = random_examples(draw_lengths(num_sequences, rng), num_classes, rng)
    batches = make_batches(examples, batch_size=num_sequences, device=device, seed=field.seed)
    return replace(field, examples=examples, batches=batches, loss="cross_entropy")


def whole_batch(field: Field) -> Parts:
    """What cuts the only batch."""
    return next(cut(field.batches, 0))
