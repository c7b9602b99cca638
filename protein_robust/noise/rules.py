"""What can be asked of label noise; nothing is drawn here.

Rows of a transition matrix are the clean class, columns the given one, and rows sum to 1. (Some
libraries use the transpose: convert before.) A rate is a fraction of the labels that *change*,
except under ``own_class = "included"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

LabelKind = Literal[
    "none",
    "symmetric",
    "pair",
    "asymmetric",
    "matrix",
    "clan",
    "clan_pair",
    "id_block",
    "human",
]
OwnClass = Literal["excluded", "included"]
Count = Literal["exact", "bernoulli"]
Unlabelled = Literal["leave out", "random"]

ROW_SUM_TOLERANCE = 1e-9
"""How far above 1 a row of a transition matrix may sum, for rounding."""

WITHOUT_RATE = ("none", "matrix", "human")
"""Kinds whose rate of wrong labels is not set by ``rate``."""

_SPREAD_KINDS = ("symmetric", "pair", "clan")


@dataclass(frozen=True)
class LabelRule:
    """What is done to the training labels, and which sequences are added to them.

    Classes are named by accession, written as in the data set.

    Attributes:
        kind: ``none``;
            ``symmetric``: uniform over the other classes;
            ``pair``: class i becomes i + 1 mod K, in the order of sorted accessions;
            ``asymmetric``: as in ``class_map``, all other classes keep their labels;
            ``matrix``: by ``transitions``;
            ``clan``: the part ``in_clan_share`` uniform over the other classes of the clan, the
            rest uniform over the classes outside it. Where a class has no clan, or no other class
            of its clan is in the data, the in-clan part goes to the class that is nearest by
            sequence similarity;
            ``clan_pair``: in each clan with two classes or more, two of them are drawn, and are
            mistaken for each other; all other classes keep their labels. With the superclasses of
            CIFAR-100 as clans, the asymmetric noise of the talk (ProSelfLC, after SL);
            ``id_block``: class i becomes the next one of the five consecutive class numbers 5b to
            5b + 4, the last of them the first. The asymmetric noise that most others use for
            CIFAR-100 (APL, ELR, PLC, JAL), whose blocks are *not* its superclasses;
            ``human``: the labels of ``annotation``, which people gave; nothing is drawn.
        rate: fraction of the labels that change, in [0, 1]; under ``asymmetric`` the fraction of
            each source class (the convention of APL and ELR; DivideMix takes it of all labels),
            under ``clan_pair`` of each drawn class (at 0.4, 16 % of CIFAR-100), under ``id_block``
            of each class. Stays 0 for ``none``, and for ``matrix`` and ``human``, where it follows
            from the matrix and the annotation.
        own_class: ``included`` draws over all K classes, so that about rate (1 - 1/K) of the
            labels are wrong (DivideMix, ELR, Joint Optimisation); for ``symmetric`` only.
        count: ``exact``: floor(rate N) examples, drawn without replacement; under ``asymmetric``,
            ``clan_pair`` and ``id_block`` floor(rate n_c) of each class c that becomes another;
            under ``matrix`` the n_c labels of a class are shared out by largest remainder (in a
            small class a rare transition then never occurs).
            ``bernoulli``: each example by itself, with probability ``rate`` or as the matrix says.
        class_map: for ``asymmetric``, accession -> accession of the class that it becomes.
        transitions: for ``matrix``, clean accession -> given accession -> probability. What a row
            lacks to 1 stays on the diagonal; classes that are not named stay clean.
        in_clan_share: for ``clan``, the share of the wrong labels that stay in the clan, in
            [0, 1]. An exact count makes it floor(share M) of the M wrong labels.
        rate_spread: standard deviation of the rate over classes, at least 0: each class has its own
            rate, from a normal distribution around ``rate`` that is truncated to [0, 1] (Xia et al.
            2020 do this for each example, with 0.1). Exact counts are then brought to floor(rate N)
            overall (`choosing.spread_counts`); without them the mean is that of the truncated
            distribution, not ``rate``. For ``symmetric``, ``pair``, ``clan``.
        open_set_rate: share of the resulting training set, in [0, 1), that are sequences of
            held-out families, added with labels uniform over the K classes.
        unlabelled: ``random``: sequences without a known class are added, with labels uniform over
            the K classes (the talk's DeepLoc experiment).
        annotation: for ``human``, the name of the labels that people gave, as the data set has it.

    Raises:
        ValueError: if a value is outside what is said above, or given to a kind that has no use
            for it.

    References:
        Xia et al., "Part-dependent Label Noise", NeurIPS 2020 (the spread). Wang et al.,
        "ProSelfLC", CVPR 2021, section 5, and Wang et al., "Symmetric Cross Entropy", ICCV 2019
        (``clan_pair``). Ma et al., "Normalized Loss Functions", ICML 2020, APL (``id_block``). Wei
        et al., "Learning with Noisy Labels Revisited", ICLR 2022, CIFAR-N (``human``).
    """

    kind: LabelKind = "none"
    rate: float = 0.0
    own_class: OwnClass = "excluded"
    count: Count = "exact"
    class_map: Mapping[str, str] = field(default_factory=dict, hash=False)
    transitions: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    in_clan_share: float = 0.0
    rate_spread: float = 0.0
    open_set_rate: float = 0.0
    unlabelled: Unlabelled = "leave out"
    annotation: str = ""

    def __post_init__(self) -> None:
        """Check every value, and copy the mappings, so that the rule is what it was."""
        object.__setattr__(self, "class_map", dict(self.class_map))
        rows = {clean: dict(row) for clean, row in self.transitions.items()}
        object.__setattr__(self, "transitions", rows)
        _check_choice("kind", self.kind, get_args(LabelKind))
        _check_choice("own_class", self.own_class, get_args(OwnClass))
        _check_choice("count", self.count, get_args(Count))
        _check_choice("unlabelled", self.unlabelled, get_args(Unlabelled))
        _check_numbers(self)
        _check_use(self)
        _check_class_map(self)
        _check_transitions(self)
        _check_annotation(self)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Expected `{name}` one of {', '.join(choices)}, got {value!r}.")


def _check_numbers(rule: LabelRule) -> None:
    for name in ("rate", "in_clan_share"):
        if not 0 <= getattr(rule, name) <= 1:
            raise ValueError(f"Expected `{name}` in [0, 1], got {getattr(rule, name)}.")
    if not 0 <= rule.open_set_rate < 1:
        raise ValueError(f"Expected `open_set_rate` in [0, 1), got {rule.open_set_rate}.")
    if not 0 <= rule.rate_spread < math.inf:
        raise ValueError(f"Expected a finite `rate_spread` of at least 0, got {rule.rate_spread}.")


def _check_use(rule: LabelRule) -> None:
    """Refuse what the kind would leave unused: it was meant to do something."""
    if rule.kind in WITHOUT_RATE and rule.rate != 0:
        raise ValueError(f"Expected `rate` 0 where `kind` is {rule.kind}, got {rule.rate}.")
    if rule.own_class == "included" and rule.kind != "symmetric":
        raise ValueError(
            f"Expected `own_class` included only where `kind` is symmetric, got {rule.kind}."
        )
    if rule.in_clan_share and rule.kind != "clan":
        found = f"{rule.in_clan_share} where it is {rule.kind}"
        raise ValueError(f"Expected `in_clan_share` only where `kind` is clan, got {found}.")
    if rule.rate_spread and rule.kind not in _SPREAD_KINDS:
        found = f"{rule.rate_spread} where it is {rule.kind}"
        kinds = ", ".join(_SPREAD_KINDS)
        raise ValueError(
            f"Expected `rate_spread` only where `kind` is one of {kinds}, got {found}."
        )
    if rule.rate_spread and rule.rate == 0:
        raise ValueError(f"Expected `rate_spread` 0 where `rate` is 0, got {rule.rate_spread}.")


def _check_class_map(rule: LabelRule) -> None:
    if (rule.kind == "asymmetric") != bool(rule.class_map):
        needed = "at least one class" if rule.kind == "asymmetric" else "nothing"
        found = f"{len(rule.class_map)} entries"
        raise ValueError(
            f"Expected `class_map` with {needed} where `kind` is {rule.kind}, got {found}."
        )
    for clean, given in rule.class_map.items():
        if clean == given:
            raise ValueError(f"Expected `class_map` onto other classes, got {clean!r} onto itself.")


def _check_transitions(rule: LabelRule) -> None:
    if (rule.kind == "matrix") != bool(rule.transitions):
        needed = "at least one row" if rule.kind == "matrix" else "nothing"
        found = f"{len(rule.transitions)} rows"
        raise ValueError(
            f"Expected `transitions` with {needed} where `kind` is {rule.kind}, got {found}."
        )
    for clean, row in rule.transitions.items():
        for given, probability in row.items():
            if not 0 <= probability <= 1:
                found = f"{probability} from {clean!r} to {given!r}"
                raise ValueError(f"Expected `transitions` with values in [0, 1], got {found}.")
        total = math.fsum(row.values())
        if total > 1 + ROW_SUM_TOLERANCE:
            found = f"{total} for {clean!r}"
            raise ValueError(
                f"Expected rows of `transitions` with a sum of at most 1, got {found}."
            )


def _check_annotation(rule: LabelRule) -> None:
    if (rule.kind == "human") != bool(rule.annotation):
        needed = "the name of one" if rule.kind == "human" else "nothing"
        found = repr(rule.annotation)
        raise ValueError(
            f"Expected `annotation` with {needed} where `kind` is {rule.kind}, got {found}."
        )
