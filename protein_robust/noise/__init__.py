"""Corruption on purpose: wrong labels and cut sequences, each with a record of what was done."""

from protein_robust.noise.crops import CropRule, Crops, draw_crops
from protein_robust.noise.labels import LabelNoise, LabelRule, corrupt_labels
from protein_robust.noise.store import NoiseSetting, make_noise, read_noise

__all__ = [
    "CropRule",
    "Crops",
    "LabelNoise",
    "LabelRule",
    "NoiseSetting",
    "corrupt_labels",
    "draw_crops",
    "make_noise",
    "read_noise",
]
