"""Networks: `(inputs, mask) -> logits (B, K)`."""

from protein_robust.models.protcnn import ProtCNN, ProtCNNConfig

__all__ = ["ProtCNN", "ProtCNNConfig"]
