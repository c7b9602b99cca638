"""Networks: `(inputs, mask) -> logits (B, K)`."""

from protein_robust.models.precision import Precision, computes_bf16, scores
from protein_robust.models.protcnn import ProtCNN, ProtCNNConfig

__all__ = ["Precision", "ProtCNN", "ProtCNNConfig", "computes_bf16", "scores"]
