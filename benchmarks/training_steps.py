"""What `training.py` times: passes over the data by our step, by the plain one, by parts of ours.

All of them are `race.Contestant`s, in `CONTESTANTS` by the names that the tables have.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

# From this folder, where a script finds its neighbours.
import numpy as np
import plain_protcnn as plain
import pyarrow as pa
import torch
from convolutions import FORMULATIONS, BareConvolutions, MatrixProduct, Shape
from race import Contestant
from torch import Tensor
from training_data import (
    PRESETS,
    Examples,
    cut,
    make_batches,
    random_examples,
    read_lengths,
    real_examples,
)
from turns import keep_freed_memory

from protein_robust.datasets import Batch, Parts, SequenceBatches, SequenceDataset
from protein_robust.evaluation import Predictions, predict
from protein_robust.ingest.readers.fasta import read_fasta
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.records import BadRecords, clean_block
from protein_robust.losses import make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig, scores
from protein_robust.noise import CropRule, draw_crops
from protein_robust.training import FitOptions, Objective, make_optimizer
from protein_robust.training.update import update

Step = Callable[[Parts], Tensor]
"""An update; gives the sums of losses and of correct predictions, shape (2,)."""
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
EVALUATION_BATCH_SIZE = 256
OPTIONS = FitOptions()


@dataclass(frozen=True)
class Field:
    """What all contestants share.

    Attributes:
        config: shape of the network.
        examples: the data.
        batches: the same as training has them.
        loss: name, of our step; the plain one has cross entropy.
        precision: of our step; the plain one has float32.
        seed: of weights and order.
    """

    config: ProtCNNConfig
    examples: Examples
    batches: SequenceBatches
    loss: str
    precision: Literal["fp32", "bf16"]
    seed: int

    @property
    def device(self) -> torch.device:
        """Where all happens."""
        return self.batches.dataset.tokens.device

    @property
    def num_residues(self) -> int:
        """Of all sequences."""
        return int(self.batches.dataset.lengths.sum())

    @property
    def like(self) -> Tensor:
        """Has the device, and the dtype of our convolutions."""
        return torch.empty(0, dtype=DTYPES[self.precision], device=self.device)

    @property
    def objective(self) -> Objective:
        """Ours."""
        return Objective(make_loss(self.loss), precision=self.precision)

    def model(self) -> ProtCNN:
        """Ours, with new weights."""
        generator = torch.Generator().manual_seed(self.seed)
        model = ProtCNN(self.config, self.examples.num_classes, generator=generator)
        return model.to(self.device)

    def plain_model(self) -> plain.PlainProtCNN:
        """The plain one, of the same shape."""
        return plain.PlainProtCNN(
            self.config.width,
            max(1, int(self.config.width * self.config.bottleneck)),
            kernel_size=self.config.kernel_size,
            dilations=self.config.dilations,
            num_classes=self.examples.num_classes,
            momentum=self.config.norm_momentum,
        ).to(self.device)

    def plain_loader(self, batch_size: int) -> plain.Loader:
        """The data for the plain one."""
        strings, labels = self.examples.sequences.to_pylist(), self.examples.labels.tolist()
        return plain.make_loader(strings, labels, batch_size=batch_size, seed=self.seed)

    def shapes(self, number: int) -> list[Shape]:
        """Of the parts of our batches in a pass."""
        parts = (part() for parts in cut(self.batches, number) for part in parts)
        return [(len(batch.label), batch.inputs.shape[1]) for batch in parts]


def ours(field: Field) -> Contestant:
    """Our step, planning and cutting of batches included."""
    step = make_step(field)
    return lambda number: (step(parts) for parts in cut(field.batches, number))


def make_step(field: Field, *, learning_rate: float = OPTIONS.learning_rate) -> Step:
    """The update that `protein_robust.training.fit` makes, of a new network."""
    model = field.model().train()
    optimizer = make_optimizer(model, replace(OPTIONS, learning_rate=learning_rate))
    return partial(
        update, model, field.objective, optimizer, progress=0.5, clip_norm=OPTIONS.clip_norm
    )


def reference(field: Field) -> Contestant:
    """The plain step on random batches, with the same settings of AdamW."""
    model = field.plain_model()
    rate, decay = OPTIONS.learning_rate, OPTIONS.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    loader = field.plain_loader(field.batches.batch_size)
    clip_norm = OPTIONS.clip_norm or float("inf")
    return lambda _: plain.train(model, optimizer, loader, clip_norm=clip_norm)


def assembly(field: Field) -> Contestant:
    """Planning and cutting of our batches alone."""
    return lambda number: ([part() for part in parts] for parts in cut(field.batches, number))


def bare(field: Field, formulation: str) -> Contestant:
    """Only the convolutions of our batches."""
    convolutions = BareConvolutions(field.config, formulation, like=field.like)
    return lambda number: convolutions.run(field.shapes(number))


def once(run: Callable[[], object]) -> Contestant:
    """Something that is done once a pass."""
    return lambda _: (run() for _ in range(1))


def plain_inference(field: Field) -> Contestant:
    """Classes by the plain network, random batches."""
    model, loader = field.plain_model(), field.plain_loader(EVALUATION_BATCH_SIZE)
    return lambda _: plain.infer(model, loader)


def our_inference(field: Field) -> Contestant:
    """Classes by ours, length-sorted batches."""
    model, batches = field.model().eval(), sorted_batches(field, field.batches.dataset)

    @torch.no_grad()
    def classify(part: Callable[[], Batch]) -> Tensor:
        batch = part()
        return scores(model, batch.inputs, batch.mask, field.precision).argmax(dim=1).cpu()

    return lambda _: (classify(part) for parts in cut(batches, 0) for part in parts)


def fasta_inference(field: Field) -> Contestant:
    """A FASTA file, written beforehand, to predictions: read, checked, cut, classified."""
    model = field.model()

    def run(_: int) -> Iterator[Predictions]:
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name, "sequences.fasta")
        write_fasta(path, field.examples)

        def work() -> Iterator[Predictions]:
            with folder:
                dataset = read_dataset(path, field.device)
                batches = sorted_batches(field, dataset)
                yield predict(model, batches, precision=field.precision)

        return work()

    return run


def write_fasta(path: Path, examples: Examples) -> None:
    """Write sequences, 60 letters a line."""
    with path.open("w", encoding="ascii") as file:
        for number, letters in enumerate(examples.sequences.to_pylist()):
            lines = (letters[begin : begin + 60] for begin in range(0, len(letters), 60))
            file.write(f">sequence{number}\n" + "\n".join(lines) + "\n")


def read_dataset(path: Path, device: torch.device) -> SequenceDataset:
    """Read a FASTA file; all labels are 0."""
    parts, bad = [], BadRecords()
    with open_source(path) as opened:
        for block in read_fasta(opened.stream, str(path), bad=bad):
            clean = clean_block(block, bad)
            assert clean is not None  # or an error would have come
            parts.append(pa.array(clean.sequences, pa.large_string()))
    sequences = pa.chunked_array(parts)
    labels = np.zeros(len(sequences), dtype=np.int64)
    return SequenceDataset.from_arrow(sequences, labels, device=device)


def sorted_batches(field: Field, dataset: SequenceDataset) -> SequenceBatches:
    """Whole sequences sorted by length, as in evaluation."""
    crops = draw_crops(dataset.lengths, rule=CropRule(), rng=np.random.default_rng(0))
    return SequenceBatches(dataset, crops, EVALUATION_BATCH_SIZE, field.batches.max_residues)


def matrix_product(field: Field) -> MatrixProduct:
    """Large enough for the device."""
    return MatrixProduct(8192, repeats=10) if field.device.type == "cuda" else MatrixProduct(2048)


PLAIN, OURS, CUTTING = "plain step", "our step", "planning and cutting"
PRODUCTS = MM, MM_CONV = "matrix product, torch.mm", "matrix product, 1x1 convolution"
INFERENCE = {
    "plain, random batches": plain_inference,
    "ours, length-sorted batches": our_inference,
    "ours, FASTA file to predictions": fasta_inference,
}
CONTESTANTS: dict[str, Callable[[Field], Contestant]] = {
    PLAIN: reference,
    OURS: ours,
    CUTTING: assembly,
    **{name: partial(bare, formulation=name) for name in FORMULATIONS},
    MM: lambda field: once(matrix_product(field).by_mm(field.like)),
    MM_CONV: lambda field: once(matrix_product(field).by_convolution(field.like)),
    **INFERENCE,
}


def build(options: Namespace, name: str) -> Contestant:
    """Make a contestant, in its own process."""
    prepare(options)
    return CONTESTANTS[name](make_field(options, options.sequences))


def prepare(options: Namespace) -> None:
    """Settings of a process."""
    torch.set_num_threads(options.threads)
    if options.keep_freed_memory:
        keep_freed_memory()


def make_field(options: Namespace, num_sequences: int) -> Field:
    """Data and network as they are asked for."""
    rng = np.random.default_rng(options.seed)
    if options.data is None:
        lengths = read_lengths(options.lengths, num_sequences, rng)
        examples = random_examples(lengths, options.classes, rng)
    else:
        examples = real_examples(options.data, num_sequences, rng)
    batches = make_batches(
        examples,
        batch_size=options.batch_size,
        device=options.device,
        seed=options.seed,
        max_residues=options.max_residues,
        window=options.window,
    )
    config = replace(PRESETS[options.preset].config, width=options.width)
    return Field(config, examples, batches, options.loss, options.precision, options.seed)
