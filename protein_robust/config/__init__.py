"""A study as a YAML file: the only home of YAML and of pydantic."""

from protein_robust.config.reading import dump_yaml, load_study
from protein_robust.config.schema import LossConfig, NoiseConfig, StudyConfig, slug

__all__ = ["LossConfig", "NoiseConfig", "StudyConfig", "dump_yaml", "load_study", "slug"]
