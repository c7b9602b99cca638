"""Corruption on purpose: wrong labels and cut sequences, each with a record of what was done."""

from protein_robust.noise.classes import Classes
from protein_robust.noise.crops import CropRule, Crops, draw_crops
from protein_robust.noise.inputs import NoiseInputs
from protein_robust.noise.labels import LabelNoise, corrupt_labels, expected_rate
from protein_robust.noise.rules import LabelRule
from protein_robust.noise.similarity import nearest_families
from protein_robust.noise.store import Noise, NoiseSetting, make_noise, read_noise
from protein_robust.noise.targets import CLASS_MAPS
from protein_robust.noise.transitions import read_transitions

__all__ = [
    "CLASS_MAPS",
    "Classes",
    "CropRule",
    "Crops",
    "LabelNoise",
    "LabelRule",
    "Noise",
    "NoiseInputs",
    "NoiseSetting",
    "corrupt_labels",
    "draw_crops",
    "expected_rate",
    "make_noise",
    "nearest_families",
    "read_noise",
    "read_transitions",
]
