"""From a trained run to a classifier that can be handed on: `RUN_DIR/model`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from protein_robust import ranks
from protein_robust.classifier import Classifier, Families, Threshold
from protein_robust.classifier.answers import Answers, answer
from protein_robust.classifier.classify import whole_batches
from protein_robust.classifier.folder import MODEL
from protein_robust.classifier.thresholds import find_thresholds
from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.evaluation.centroids import Centroids
from protein_robust.ingest import read_families
from protein_robust.models import ProtCNN
from protein_robust.noise import Crops
from protein_robust.noise.decoys import shuffle_residues
from protein_robust.study.plan import PlannedRun
from protein_robust.study.sequence_data import SequenceData
from protein_robust.study.unknown import run_centroids

MAX_DECOYS = 10_000
MIN_DECOYS = 4000
"""Where there are fewer sequences, each is shuffled several times: for four bins of lengths."""

DECOYS = 22
"""Stream of a run's seed: which sequences become decoys, and in which order their residues."""


def package_run(
    run: PlannedRun,
    data: SequenceData,
    model: ProtCNN,
    temperature: float | None,
    *,
    centroids: Centroids | None = None,
) -> Path:
    """Write a trained network as a classifier, with all that its answers are held against.

    Thresholds come from the validation data with its crops. Decoys are validation sequences, and as
    many training ones, cropped as the noise does it, each with its residues shuffled. The least
    length is that of the shortest fixed crop of the training data.

    Args:
        run: the run.
        data: what it reads.
        model: its trained network.
        temperature: of its calibration; None where there is no validation data: then 1.
        centroids: from `run_centroids`, where they are there already.

    Returns:
        The folder, which the first process has written.

    Raises:
        InputError: if it cannot be written.
    """
    families = Families.from_columns(read_families(run.dataset_folder).to_pydict())
    centroids = run_centroids(run, data, model) if centroids is None else centroids
    near = centroids.to(data.device)
    temperature = 1.0 if temperature is None else temperature

    def ask(batches: SequenceBatches) -> Answers:
        return answer(
            model,
            batches,
            families,
            centroids=near,
            temperature=temperature,
        )

    thresholds: tuple[Threshold, ...] = ()
    if len(data.datasets["valid"]):
        answers = ask(data.evaluation_batches("valid", run))
        thresholds = _thresholds(answers, data.clean_label["valid"], families)
    decoys = draw_decoys(data, run.seed)
    distance = ask(whole_batches(decoys)).distance
    folder = run.folder / MODEL
    if ranks.rank() == 0:
        Classifier(
            name=f"{run.study}/{run.folder.name}",
            network=model,
            families=families,
            temperature=temperature,
            thresholds=thresholds,
            least_length=int(data.crops["train"].length.min()),
            centroids=centroids,
            decoy_score=-distance,
            decoy_length=decoys.lengths,
            origin={
                "study": run.study,
                "run": run.title,
                "run_key": run.key,
                "dataset_digest": run.inputs["dataset_digest"],
            },
        ).save(folder)
    return folder


def _thresholds(
    answers: Answers, label: NDArray[np.int64], families: Families
) -> tuple[Threshold, ...]:
    is_clan_right = answers.group == families.group[label]
    return find_thresholds(
        (answers.confidence, answers.family == label), (answers.clan_confidence, is_clan_right)
    )


def draw_decoys(data: SequenceData, seed: int) -> SequenceDataset:
    """Shuffle what is seen of validation and training sequences.

    Args:
        data: what a run reads.
        seed: of the run.

    Returns:
        `MIN_DECOYS` to `MAX_DECOYS` sequences, without a class; half of them at most from each
        split, where both have that many.
    """
    rng = np.random.default_rng([seed, DECOYS])
    sizes = {split: len(data.datasets[split]) for split in ("valid", "train")}
    num_valid = min(sizes["valid"], MAX_DECOYS // 2)
    wanted = {"valid": num_valid, "train": max(num_valid, MIN_DECOYS) if num_valid else MAX_DECOYS}
    parts = []
    for split, size in sizes.items():
        chosen = np.sort(rng.permutation(size)[: wanted[split]])
        parts.append(cropped_tokens(data.datasets[split], data.crops[split], chosen))
    tokens = np.concatenate([part for part, _ in parts])
    lengths = np.concatenate([part for _, part in parts])
    num_copies = -(-MIN_DECOYS // len(lengths))
    tokens, lengths = np.tile(tokens, num_copies), np.tile(lengths, num_copies)
    shuffled = shuffle_residues(tokens, lengths, rng=rng)
    offset = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return SequenceDataset(
        torch.from_numpy(shuffled).to(data.device),
        torch.from_numpy(offset).to(data.device),
        torch.zeros(len(lengths), dtype=torch.int64, device=data.device),
        lengths,
    )


def cropped_tokens(
    dataset: SequenceDataset, crops: Crops, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Cut some sequences as their crops say.

    Args:
        dataset: N sequences.
        crops: the part of each that is seen.
        chosen: which of them, shape (n,), int64.

    Returns:
        Their tokens one after the other, shape (R,), uint8, and the length of each, shape (n,),
        int64.
    """
    length = crops.length[chosen]
    owner = np.repeat(np.arange(len(chosen)), length)
    position = np.arange(len(owner)) - (np.cumsum(length) - length)[owner]
    place = (dataset.offset.cpu().numpy()[chosen] + crops.start[chosen])[owner] + position
    place += (position >= crops.gap_start[chosen][owner]) * crops.gap_length[chosen][owner]
    tokens = dataset.tokens[torch.from_numpy(place).to(dataset.tokens.device)]
    return tokens.cpu().numpy(), length
