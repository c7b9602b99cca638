"""Residue letters, their tokens, and what the rare ones mean."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.alphabet import (
    INVALID,
    NUM_STANDARD,
    NUM_TOKENS,
    PAD,
    RESIDUE_PROFILES,
    RESIDUES,
    STANDARD_RESIDUES,
    TOKEN_OF_BYTE,
    decode,
    encode,
)


def test_the_standard_residues_are_the_letters_that_are_no_rare_ones() -> None:
    assert "".join(sorted(set("ABCDEFGHIJKLMNOPQRSTUVWXYZ") - set("BJOUXZ"))) == STANDARD_RESIDUES


def test_there_is_a_token_for_each_letter_and_one_for_padding() -> None:
    assert (len(set(RESIDUES)), PAD, NUM_TOKENS) == (26, 26, 27)


@settings(deadline=None)
@given(st.text(alphabet=RESIDUES, max_size=50))
def test_decoding_undoes_encoding(sequence: str) -> None:
    assert decode(encode(sequence)) == sequence


@settings(deadline=None)
@given(st.text(alphabet=RESIDUES, max_size=50))
def test_the_token_of_a_letter_is_its_place_in_the_alphabet(sequence: str) -> None:
    assert encode(sequence).tolist() == [RESIDUES.index(letter) for letter in sequence]


def test_tokens_are_bytes() -> None:
    assert encode("ACX").dtype == np.uint8


def test_decoding_leaves_padding_out() -> None:
    assert decode(np.array([PAD, 0, PAD, 1, PAD], dtype=np.uint8)) == "AC"


@pytest.mark.parametrize("letter", ["a", "-", ".", "*", " ", "1", "\u00e9", "\u4e2d", "\U0001f9ec"])
def test_a_character_that_is_no_residue_is_named(letter: str) -> None:
    message = f"Expected residue letters of {RESIDUES}, got {letter!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        encode("AC" + letter + "D")


def test_the_first_wrong_character_is_the_one_named() -> None:
    with pytest.raises(ValueError, match="got '\u4e2d'"):
        encode("A\u4e2d-")


def test_a_token_beyond_padding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected tokens of at most 26, got 27\."):
        decode(np.array([0, 27], dtype=np.uint8))


def test_every_byte_that_is_no_capital_letter_is_invalid() -> None:
    valid = [byte for byte in range(256) if TOKEN_OF_BYTE[byte] != INVALID]
    assert valid == [ord(letter) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]


def test_each_letter_is_a_distribution_over_the_standard_residues() -> None:
    np.testing.assert_allclose(RESIDUE_PROFILES[:PAD].sum(axis=1), 1, rtol=1e-6)


def test_padding_is_nothing() -> None:
    assert not RESIDUE_PROFILES[PAD].any()


def test_standard_residues_are_one_hot() -> None:
    np.testing.assert_array_equal(RESIDUE_PROFILES[:NUM_STANDARD], np.eye(20))


@pytest.mark.parametrize(
    ("letter", "members"),
    [
        ("B", "DN"),
        ("J", "IL"),
        ("O", STANDARD_RESIDUES),
        ("U", "C"),
        ("X", STANDARD_RESIDUES),
        ("Z", "EQ"),
    ],
)
def test_a_rare_letter_is_an_even_mixture_of_what_it_may_be(letter: str, members: str) -> None:
    mixture = np.mean([RESIDUE_PROFILES[RESIDUES.index(member)] for member in members], axis=0)
    np.testing.assert_allclose(RESIDUE_PROFILES[RESIDUES.index(letter)], mixture, rtol=1e-6)
