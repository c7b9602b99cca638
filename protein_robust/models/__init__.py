"""Networks: `(inputs, mask) -> logits (B, K)`."""

from protein_robust.models.precision import Precision, computes_bf16, scores
from protein_robust.models.protcnn import ProtCNN, ProtCNNConfig
from protein_robust.models.resnet import ResNet, ResNetConfig

__all__ = [
    "Precision",
    "ProtCNN",
    "ProtCNNConfig",
    "ResNet",
    "ResNetConfig",
    "computes_bf16",
    "scores",
]
