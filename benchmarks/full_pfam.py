"""How long the full Pfam seed takes on 1, 8 and 64 GPUs: an estimate on paper, nothing is run.

From the arithmetic of the network and from rates that are given: the FLOP/s that a GPU sustains in
training (`training.py --device cuda --preset paper` measures it) and the speed of its network. No
overlap of arithmetic and exchange is counted, and no padding, evaluation or checkpoint.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from convolutions import layers_of, training_flops

from protein_robust.models import ProtCNNConfig

SEQUENCES = 1_086_741
"""Training sequences of the random split of Pfam 32's seed."""
MEAN_LENGTH = 155
FAMILIES = 17_929
PARAMETERS = 50_213_679
NORMS = 10


@dataclass(frozen=True)
class Cluster:
    """Some GPUs, and how they talk.

    Attributes:
        gpus: how many.
        bandwidth: bytes per second that one sends while a ring adds up gradients.
        latency: seconds of a small exchange between all.
    """

    gpus: int
    bandwidth: float
    latency: float


def seconds_per_epoch(cluster: Cluster, *, flops: float, batch: int) -> tuple[float, float]:
    """Estimate an epoch.

    Args:
        cluster: where.
        flops: per second, of one GPU, sustained.
        batch: sequences an update on each GPU.

    Returns:
        Seconds, and the share of them that is arithmetic.
    """
    config = ProtCNNConfig.paper()
    head = 6 * config.width * FAMILIES
    per_sequence = training_flops(config, MEAN_LENGTH) + head
    arithmetic = batch * per_sequence / flops
    exchange = latency = 0.0
    if cluster.gpus > 1:
        ring = 2 * (cluster.gpus - 1) / cluster.gpus
        exchange = ring * 4 * PARAMETERS / cluster.bandwidth
        latency = (2 * NORMS + 1) * cluster.latency
    update = arithmetic + exchange + latency
    updates = SEQUENCES / (batch * cluster.gpus)
    return updates * update, arithmetic / update


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s of a GPU (989)")
    parser.add_argument("--share", type=float, default=0.35, help="of it in training (0.35)")
    parser.add_argument("--batch", type=int, default=256, help="sequences on each GPU (256)")
    parser.add_argument("--within", type=float, default=300, help="GB/s in a machine (300)")
    parser.add_argument("--between", type=float, default=40, help="GB/s between machines (40)")
    parser.add_argument("--epochs", type=int, default=30, help="of a training (30)")
    options = parser.parse_args()
    flops = options.peak * 1e12 * options.share
    config = ProtCNNConfig.paper()
    macs = sum(layer.num_macs for layer in layers_of(config))
    print(f"{macs / 1e6:.1f} M multiplications a residue, {flops / 1e12:.0f} TFLOP/s a GPU")
    print("| GPUs | updates an epoch | seconds an epoch | arithmetic | minutes for all epochs |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for cluster in (
        Cluster(1, float("inf"), 0),
        Cluster(8, options.within * 1e9, 30e-6),
        Cluster(64, options.between * 1e9, 80e-6),
    ):
        seconds, share = seconds_per_epoch(cluster, flops=flops, batch=options.batch)
        updates = SEQUENCES / (options.batch * cluster.gpus)
        minutes = seconds * options.epochs / 60
        print(f"| {cluster.gpus} | {updates:,.0f} | {seconds:.1f} | {share:.0%} | {minutes:.1f} |")


if __name__ == "__main__":
    main()
