"""The data and the network of a run, of the kind that its study is about."""

from __future__ import annotations

import torch
from torch import nn

from protein_robust.errors import InputError
from protein_robust.ingest import read_manifest
from protein_robust.losses import check_labels
from protein_robust.noise import read_noise
from protein_robust.study.image_data import load_images
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import RunData
from protein_robust.study.sequence_data import load_sequences


def load_data(run: PlannedRun) -> RunData:
    """Read the data set and the noise of a run.

    Raises:
        InputError: if either is not there, or is not the one that the run was planned with.
    """
    device = _device(run.device)
    noise = read_noise(run.noise_folder)
    digest = run.inputs["dataset_digest"]
    found = {
        run.dataset_folder: read_manifest(run.dataset_folder)["digest"],
        run.noise_folder: noise.manifest["dataset_digest"],
    }
    for folder, other in found.items():
        if other != digest:
            raise InputError(
                f"the data of run {run.name} (digest {digest[:12]})",
                f"others (digest {other[:12]}); they were replaced since",
                path=folder,
            )
    load = load_images if run.is_of_images else load_sequences
    data = load(run, noise, device)
    # Once for all here, since the losses do not look at labels on an accelerator.
    check_labels(torch.from_numpy(data.label["train"]), len(data.families))
    return data


def make_model(run: PlannedRun, data: RunData) -> nn.Module:
    """The network of a run with its initial weights, which the seed alone decides."""
    generator = torch.Generator().manual_seed(run.seed)
    return data.network(run.inputs["model"], generator).to(data.device)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(name)
