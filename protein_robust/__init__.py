"""Protein family classifiers trained on labels that cannot be fully trusted."""

__version__ = "0.1.0"
