"""A study as a YAML file: the only home of YAML and of pydantic."""

from protein_robust.config.images import ImageDataConfig
from protein_robust.config.reading import dump_yaml, load_study
from protein_robust.config.schema import BASELINE_LABELS, LossConfig, StudyConfig, slug
from protein_robust.config.sections import NoiseConfig

__all__ = [
    "BASELINE_LABELS",
    "ImageDataConfig",
    "LossConfig",
    "NoiseConfig",
    "StudyConfig",
    "dump_yaml",
    "load_study",
    "slug",
]
