"""Residue letters and their tokens: which letters exist, and what the unusual ones mean.

The 20 standard residues come first, in alphabetical order (that of ProtCNN's one-hot channels).
The ambiguous and rare letters keep a token of their own, so that ingestion loses nothing; what they
mean to a model is `RESIDUE_PROFILES`, the rule of ProtCNN's published inference code (Bileschi et
al. 2022): ``B`` is half ``D`` and half ``N``, ``Z`` half ``E`` and half ``Q``, ``X`` uniform, ``U``
(selenocysteine) is read as ``C``, ``O`` (pyrrolysine) as ``X``. ``J`` (leucine or isoleucine, from
mass spectrometry), absent there, is half ``I`` and half ``L``.

Lower case (insert columns of an alignment) means the same residue; ``.`` and ``-`` are gaps and
carry no residue; a ``*`` that ends a sequence is a translated stop codon and is dropped. Every
other character is an error. Ingestion counts each of these.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

STANDARD_RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
RARE_RESIDUES = "BJOUXZ"
RESIDUES = STANDARD_RESIDUES + RARE_RESIDUES
GAPS = ".-"
STOP = "*"

NUM_STANDARD = len(STANDARD_RESIDUES)
PAD = len(RESIDUES)
"""Token of a position beyond the end of a sequence; it has no letter."""
NUM_TOKENS = PAD + 1
INVALID = 255
"""What `TOKEN_OF_BYTE` holds for a byte that is no residue letter."""

_MEANING: Mapping[str, str] = {
    "B": "DN",
    "J": "IL",
    "O": STANDARD_RESIDUES,
    "U": "C",
    "X": STANDARD_RESIDUES,
    "Z": "EQ",
}


def _residue_profiles() -> NDArray[np.float32]:
    """Each token as a distribution over the standard residues; the padding token is zero."""
    profiles = np.zeros((NUM_TOKENS, NUM_STANDARD), dtype=np.float32)
    profiles[:NUM_STANDARD] = np.eye(NUM_STANDARD, dtype=np.float32)
    for letter, members in _MEANING.items():
        for member in members:
            profiles[RESIDUES.index(letter), STANDARD_RESIDUES.index(member)] = 1 / len(members)
    return profiles


def _token_of_byte() -> NDArray[np.uint8]:
    table = np.full(256, INVALID, dtype=np.uint8)
    for token, letter in enumerate(RESIDUES):
        table[ord(letter)] = token
    return table


RESIDUE_PROFILES: NDArray[np.float32] = _residue_profiles()
"""Shape (NUM_TOKENS, 20), float32: row t is what token t means; rows sum to 1, padding's to 0."""
TOKEN_OF_BYTE: NDArray[np.uint8] = _token_of_byte()
"""Shape (256,), uint8: the token of each byte of a cleaned sequence, `INVALID` for all others."""


def encode(sequence: str) -> NDArray[np.uint8]:
    """Turn a cleaned sequence (capital residue letters only) into tokens.

    Args:
        sequence: residues, each a letter of `RESIDUES`.

    Returns:
        Tokens, shape (L,), uint8.

    Raises:
        ValueError: if a character is not a residue letter.

    Example:
        >>> encode("ACX").tolist()
        [0, 1, 24]
    """
    tokens = TOKEN_OF_BYTE[np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)]
    if (tokens == INVALID).any():
        letter = sequence[int(np.argmax(tokens == INVALID))]
        raise ValueError(f"Expected residue letters of {RESIDUES}, got {letter!r}.")
    return tokens


def decode(tokens: NDArray[np.uint8]) -> str:
    """Turn tokens back into letters; padding is left out.

    Args:
        tokens: shape (L,), uint8, each at most `PAD`.

    Returns:
        The sequence.

    Raises:
        ValueError: if a token is larger than `PAD`.

    Example:
        >>> decode(encode("MKV"))
        'MKV'
    """
    if tokens.size and int(tokens.max()) > PAD:
        raise ValueError(f"Expected tokens of at most {PAD}, got {int(tokens.max())}.")
    return "".join(RESIDUES[token] for token in tokens if token != PAD)
