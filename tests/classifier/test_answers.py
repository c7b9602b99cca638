"""What is read off the logits, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from protein_robust.alphabet import encode
from protein_robust.classifier import Classifier
from protein_robust.classifier.answers import Answers, answer
from protein_robust.classifier.classify import whole_batches
from protein_robust.datasets import SequenceDataset


def ask(classifier: Classifier, sequences: list[str]) -> Answers:
    import pyarrow as pa

    dataset = SequenceDataset.from_arrow(pa.array(sequences), np.zeros(len(sequences), np.int64))
    return answer(
        classifier.network,
        whole_batches(dataset),
        classifier.families,
        centroids=classifier.centroids,
        temperature=classifier.temperature,
    )


def alone(classifier: Classifier, sequence: str) -> tuple[np.ndarray, torch.Tensor]:
    """Logits in float64 and the embedding, of a sequence by itself and without padding."""
    tokens = torch.from_numpy(encode(sequence).copy())[None]
    mask = torch.ones_like(tokens, dtype=torch.bool)
    with torch.inference_mode():
        embedding = classifier.network.embed(tokens, mask)
        logits = classifier.network.head(embedding)
    return logits[0].numpy().astype(np.float64), embedding


def test_answers_are_those_of_each_sequence_by_itself(
    classifier: Classifier, sequences: list[str]
) -> None:
    answers = ask(classifier, sequences)
    for place, sequence in enumerate(sequences):
        logits, embedding = alone(classifier, sequence)
        scaled = np.exp((logits - logits.max()) / 1.5)
        probs = scaled / scaled.sum()
        first, second = np.argsort(-probs)[:2]
        clans = np.array([probs[0] + probs[1], probs[2]])
        assert answers.family[place] == first
        assert answers.second_family[place] == second
        assert answers.group[place] == clans.argmax()
        found = [
            answers.confidence[place],
            answers.second_confidence[place],
            answers.clan_confidence[place],
            answers.distance[place],
        ]
        distance = float(classifier.centroids.distance(embedding)[0])
        expected = [probs[first], probs[second], clans.max(), distance]
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_the_best_clan_need_not_be_that_of_the_best_family(
    make_classifier: Callable[..., Classifier],
) -> None:
    made = make_classifier()
    with torch.no_grad():
        made.network.head.weight.zero_()
        # Probabilities at T = 1.5: 0.3, 0.3 (one clan) and 0.4 (alone).
        made.network.head.bias.copy_(1.5 * torch.log(torch.tensor([0.3, 0.3, 0.4])))
    answers = ask(made, ["MKV"])
    assert (answers.family[0], answers.group[0]) == (2, 0)
    np.testing.assert_allclose(answers.confidence, [0.4], rtol=1e-6)
    np.testing.assert_allclose(answers.clan_confidence, [0.6], rtol=1e-6)


def test_no_sequences_give_no_answers(classifier: Classifier) -> None:
    answers = ask(classifier, [])
    assert answers.family.dtype == np.int64
    assert len(answers.family) == len(answers.distance) == 0
