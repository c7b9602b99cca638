"""What carries out the runs of a study: this process or others, here or on other machines."""

from protein_robust.study.engines.choice import make_engine
from protein_robust.study.engines.engine import Engine
from protein_robust.study.engines.local import LocalEngine
from protein_robust.study.engines.ray_cluster import RayEngine
from protein_robust.study.engines.running import Failure, run_all
from protein_robust.study.engines.slurm import SlurmEngine

__all__ = ["Engine", "Failure", "LocalEngine", "RayEngine", "SlurmEngine", "make_engine", "run_all"]
