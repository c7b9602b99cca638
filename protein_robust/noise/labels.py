"""Label noise: which training labels become wrong, and what they become.

What can be asked is `protein_robust.noise.rules.LabelRule`. Rows are never reordered, and a draw is
a function of the rule, the labels in their order, and the generator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protein_robust.noise.choosing import (
    choose_examples,
    choose_of_each_class,
    mean_rate,
)
from protein_robust.noise.clans import draw_by_clan
from protein_robust.noise.classes import Classes
from protein_robust.noise.rules import LabelRule
from protein_robust.noise.targets import (
    TARGET_KINDS,
    draw_targets,
    exchanged_pairs,
    source_chance,
)
from protein_robust.noise.transitions import draw_counts, draw_each, sparse_matrix

Labels = NDArray[np.int64]

ORIGINS = ("train", "unlabelled", "heldout")
"""Where a training sequence comes from; the codes of `LabelNoise.origin` are places in it."""
TRAIN, UNLABELLED, HELDOUT = range(len(ORIGINS))

UNKNOWN = -1
"""The clean label of a sequence whose class is not known, or is none of the K."""


def _no_origins() -> NDArray[np.int8]:
    return np.zeros(0, np.int8)


@dataclass(frozen=True)
class LabelNoise:
    """Labels before and after.

    Attributes:
        rule: what was asked for.
        clean_label: classes before, shape (N,), int64; -1 for added sequences.
        label: classes that the learner sees, shape (N,), int64.
        origin: place in `ORIGINS` of each, shape (N,), int8. Left out: all are of ``train``.
        pairs: accessions of the classes that were drawn to be exchanged (``clan_pair``).

    Raises:
        ValueError: if the arrays have not one shape, or a clean label is -1 for a sequence that was
            not added, or another one for a sequence that was.
    """

    rule: LabelRule
    clean_label: Labels
    label: Labels
    origin: NDArray[np.int8] = field(default_factory=_no_origins)
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Write out the origins that were left out, and check the arrays."""
        if not len(self.origin):
            object.__setattr__(self, "origin", np.zeros(len(self.label), np.int8))
        shapes = [part.shape for part in (self.clean_label, self.label, self.origin)]
        if len(set(shapes)) > 1:
            raise ValueError(f"Expected arrays of one shape, got {shapes}.")
        odd = np.not_equal(self.clean_label == UNKNOWN, self.origin != TRAIN)
        if odd.any():
            place = int(odd.argmax())
            found = f"{self.clean_label[place]} for one of {ORIGINS[self.origin[place]]}"
            raise ValueError(f"Expected `clean_label` -1 just for added sequences, got {found}.")

    @property
    def is_changed(self) -> NDArray[np.bool_]:
        """True where a label of ``train`` is not the clean one, shape (N,)."""
        return np.not_equal(self.label, self.clean_label) & np.equal(self.origin, TRAIN)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """True where it is known whether the label is right: not for ``unlabelled``, shape (N,)."""
        return np.not_equal(self.origin, UNLABELLED)

    @property
    def is_corrupted(self) -> NDArray[np.bool_]:
        """True where the label is known to be wrong, shape (N,).

        That is where it changed, and for all of ``heldout``, for which no class is right; False for
        ``unlabelled``, of which nothing is known.
        """
        return self.is_changed | np.equal(self.origin, HELDOUT)

    @property
    def actual_rate(self) -> float:
        """Fraction of the labels of ``train`` that did change; 0 where there are none."""
        changed = self.is_changed[self.origin == TRAIN]
        return float(changed.mean()) if len(changed) else 0.0

    @property
    def wrong_rate(self) -> float:
        """Fraction that is wrong of the labels of which that is known; 0 where there are none."""
        wrong = self.is_corrupted[self.is_known]
        return float(wrong.mean()) if len(wrong) else 0.0


def corrupt_labels(
    clean_label: Labels,
    classes: Classes,
    *,
    rule: LabelRule,
    rng: np.random.Generator,
    annotation: Labels | None = None,
) -> LabelNoise:
    """Draw wrong labels; what the rule adds to the training set is not drawn here.

    Args:
        clean_label: clean classes, shape (N,), int64 in [0, K).
        classes: the K classes, at least 2.
        rule: what to do.
        rng: where the choices come from.
        annotation: the classes to give where the rule is ``human``, shape (N,), int64 in [0, K);
            None for all other rules.

    Returns:
        The labels before and after.

    Raises:
        ValueError: if K is below 2, a label is outside [0, K), a nearest class is needed and not
            known, or the annotation is missing, not needed, or of another size.
        InputError: if the rule names a class that is not of the data, wants labels outside a clan
            that has all classes, or does not fit the clans or the number of classes.

    References:
        Wang et al., "ProSelfLC", CVPR 2021, section 5, for the default of symmetric noise (own
        class excluded, exact count); the others as said at `LabelRule`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> classes = Classes(("PF1", "PF2", "PF3"), (None, None, None))
        >>> rule = LabelRule("symmetric", 0.4)
        >>> noise = corrupt_labels(np.zeros(5, np.int64), classes, rule=rule, rng=rng)
        >>> int(noise.is_corrupted.sum())
        2
    """
    if len(classes) < 2:
        raise ValueError(f"Expected `classes` of at least 2, got {len(classes)}.")
    _check_range("labels", clean_label, len(classes))
    clean = clean_label.astype(np.int64, copy=False)
    given = _annotated(clean, classes, rule, annotation)
    if given is not None:
        return LabelNoise(rule, clean, given)
    if rule.kind in TARGET_KINDS:
        target = draw_targets(classes, rule=rule, rng=rng)
        pairs = exchanged_pairs(target, classes) if rule.kind == "clan_pair" else ()
        return LabelNoise(rule, clean, _to_target(clean, target, rule, rng), pairs=pairs)
    draw = {"matrix": _matrix, "none": _unchanged}.get(rule.kind, _rated)
    return LabelNoise(rule, clean, draw(clean, classes, rule, rng))


def expected_rate(
    clean_label: Labels, classes: Classes, *, rule: LabelRule, annotation: Labels | None = None
) -> float:
    """The fraction of these labels that a rule changes on average, before counts are rounded.

    Args:
        clean_label: clean classes, shape (N,), int64 in [0, K).
        classes: the K classes.
        rule: the rule.
        annotation: as for `corrupt_labels`.

    Returns:
        A fraction in [0, 1]; 0 where there are no labels. Of ``human``, the fraction that differs:
        nothing is drawn.

    Raises:
        ValueError: as `corrupt_labels` does of an annotation.
        InputError: if the rule names a class that is not of the data, or does not fit the clans or
            the number of classes.
    """
    given = _annotated(clean_label, classes, rule, annotation)
    if not len(clean_label):
        return 0.0
    if given is not None:
        return float(np.not_equal(given, clean_label).mean())
    rates = np.full(len(classes), mean_rate(rule))
    if rule.own_class == "included":
        rates *= 1 - 1 / len(classes)
    elif rule.kind in TARGET_KINDS:
        rates *= source_chance(classes, rule=rule)
    elif rule.kind == "matrix":
        matrix = sparse_matrix(rule.transitions, classes.accessions)
        off = matrix.probability * (matrix.clean != matrix.given)
        rates = np.bincount(matrix.clean, weights=off, minlength=len(classes))
    return float(rates[clean_label].mean())


def _check_range(name: str, label: Labels, num_classes: int) -> None:
    if len(label) and not 0 <= label.min() <= label.max() < num_classes:
        found = f"{label.min()} to {label.max()}"
        raise ValueError(f"Expected {name} in [0, {num_classes}), got {found}.")


def _annotated(
    clean: Labels, classes: Classes, rule: LabelRule, annotation: Labels | None
) -> Labels | None:
    """The labels that people gave, checked; None where the rule is of another kind."""
    if (rule.kind == "human") != (annotation is not None):
        needed = "labels" if rule.kind == "human" else "None"
        found = "None" if annotation is None else "labels"
        raise ValueError(
            f"Expected `annotation` with {needed} where `kind` is {rule.kind}, got {found}."
        )
    if annotation is None:
        return None
    if annotation.shape != clean.shape:
        raise ValueError(f"Expected `annotation` of shape {clean.shape}, got {annotation.shape}.")
    _check_range("`annotation`", annotation, len(classes))
    return annotation.astype(np.int64)


def _unchanged(clean: Labels, _: Classes, __: LabelRule, ___: np.random.Generator) -> Labels:
    return clean.copy()


def _rated(clean: Labels, classes: Classes, rule: LabelRule, rng: np.random.Generator) -> Labels:
    """Symmetric, pair and clan noise: choose examples at a rate, then draw for these."""
    size = len(classes)
    chosen = choose_examples(clean, size, rule=rule, rng=rng)
    label = clean.copy()
    if rule.kind == "pair":
        label[chosen] = classes.next_classes()[clean[chosen]]
    elif rule.kind == "clan":
        chosen = rng.permutation(chosen)  # of an exact count, the first ones stay in the clan
        label[chosen] = draw_by_clan(clean[chosen], classes, rule=rule, rng=rng)
    elif rule.own_class == "included":
        label[chosen] = rng.integers(0, size, size=len(chosen))
    else:
        # A shift of 1 to K - 1 classes reaches each other class equally often, never the own one.
        label[chosen] = (label[chosen] + rng.integers(1, size, size=len(chosen))) % size
    return label


def _to_target(clean: Labels, target: Labels, rule: LabelRule, rng: np.random.Generator) -> Labels:
    """Choose examples of each class that becomes another, at the rate of that class."""
    is_source = target != np.arange(len(target))
    if rule.count == "exact":
        counts = np.bincount(clean, minlength=len(target)) * is_source
        wanted = np.floor(rule.rate * counts + 1e-9).astype(np.int64)
        chosen = choose_of_each_class(clean, wanted, rng=rng)
    else:
        chosen = np.flatnonzero(is_source[clean] & (rng.random(len(clean)) < rule.rate))
    label = clean.copy()
    label[chosen] = target[clean[chosen]]
    return label


def _matrix(clean: Labels, classes: Classes, rule: LabelRule, rng: np.random.Generator) -> Labels:
    matrix = sparse_matrix(rule.transitions, classes.accessions)
    draw = draw_counts if rule.count == "exact" else draw_each
    return draw(clean, matrix, rng=rng)
