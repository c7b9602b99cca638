"""What users would pick instead of a network: profile HMMs, by HMMER through pyhmmer."""

from protein_robust.baselines.alignment import TrainingRows
from protein_robust.baselines.profile_hmm import Profiles, build_profiles, require_pyhmmer
from protein_robust.baselines.profile_search import Hits, search_profiles

__all__ = [
    "Hits",
    "Profiles",
    "TrainingRows",
    "build_profiles",
    "require_pyhmmer",
    "search_profiles",
]
