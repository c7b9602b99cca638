"""Sequences on the device, and the batches that are cut from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.alphabet import PAD, RESIDUES, encode
from protein_robust.datasets import Batch, Epoch, SequenceBatches, SequenceDataset, Share
from protein_robust.noise import CropRule, Crops, draw_crops
from protein_robust.noise.crops import CropKind

SEQUENCES = ["MKVL", "ACDEFGHIKLMNPQRSTVWY", "X", "BJOUXZBJO"]


def dataset_of(sequences: list[str]) -> SequenceDataset:
    return SequenceDataset.from_arrow(pa.array(sequences, pa.string()), np.arange(len(sequences)))


def letters_of(dataset: SequenceDataset) -> list[str]:
    """Each sequence of a data set, sliced from its flat tokens one by one."""
    return [
        "".join(RESIDUES[t] for t in dataset.tokens[begin : begin + length].tolist())
        for begin, length in zip(dataset.offset.tolist(), dataset.lengths, strict=True)
    ]


def whole(dataset: SequenceDataset) -> Crops:
    return draw_crops(dataset.lengths, rule=CropRule(), rng=np.random.default_rng(0))


@settings(deadline=None)
@given(st.lists(st.text(alphabet=RESIDUES, min_size=1, max_size=30), max_size=12))
def test_tokens_are_those_of_each_sequence_in_turn(sequences: list[str]) -> None:
    dataset = dataset_of(sequences)
    expected = [token for sequence in sequences for token in encode(sequence).tolist()]
    assert dataset.tokens.tolist() == expected
    assert letters_of(dataset) == sequences
    assert len(dataset) == len(sequences)


LAYOUTS = {
    "string": pa.array(SEQUENCES, pa.string()),
    "large string": pa.array(SEQUENCES, pa.large_string()),
    "chunked": pa.chunked_array([SEQUENCES[:1], SEQUENCES[1:3], [], SEQUENCES[3:]]),
    "sliced": pa.array(["QQQQ", *SEQUENCES, "WW"]).slice(1, 4),
    "sliced large string": pa.array(["QQ", *SEQUENCES, "WW"], pa.large_string()).slice(1, 4),
    "sliced and chunked": pa.chunked_array(
        [pa.array(["QQ", *SEQUENCES[:2]]).slice(1), pa.array([*SEQUENCES[2:], "W"]).slice(0, 2)]
    ),
    "one chunk sliced": pa.chunked_array([["QQ", *SEQUENCES]]).slice(1),
}


@pytest.mark.parametrize("column", [pytest.param(v, id=k) for k, v in LAYOUTS.items()])
def test_the_layout_of_the_column_does_not_matter(column: pa.Array | pa.ChunkedArray) -> None:
    dataset = SequenceDataset.from_arrow(column, np.arange(4))
    assert letters_of(dataset) == SEQUENCES
    assert dataset.offset.tolist() == [0, 4, 24, 25]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([], pa.string()),
        pa.array([], pa.large_string()),
        pa.chunked_array([], pa.string()),
        pa.array(["AC", "D"]).slice(1, 0),
    ],
    ids=["string", "large string", "no chunks", "empty slice"],
)
def test_a_data_set_may_be_empty(column: pa.Array | pa.ChunkedArray) -> None:
    dataset = SequenceDataset.from_arrow(column, np.zeros(0, np.int64))
    shapes = (dataset.tokens.shape, dataset.offset.shape, dataset.label.shape, len(dataset))
    assert shapes == ((0,), (0,), (0,), 0)


def test_an_empty_data_set_has_no_batches() -> None:
    batches = SequenceBatches(
        dataset_of([]), CropRule("random"), batch_size=2, max_residues=10, seed=0
    )
    assert len(batches.epoch(0)) == 0


def test_arrays_have_the_promised_types() -> None:
    dataset = SequenceDataset.from_arrow(pa.array(["AC"]), np.array([1], dtype=np.int64))
    assert dataset.tokens.dtype == torch.uint8
    assert dataset.offset.dtype == dataset.label.dtype == torch.int64
    assert dataset.lengths.dtype.name == "int64"


def test_labels_are_copied() -> None:
    labels = np.array([3, 4])
    dataset = SequenceDataset.from_arrow(pa.array(["A", "C"]), labels)
    labels[:] = 0
    assert dataset.label.tolist() == [3, 4]


@pytest.mark.parametrize("bad", ["", None], ids=["empty", "null"])
def test_an_empty_or_missing_sequence_is_refused(bad: str | None) -> None:
    with pytest.raises(ValueError, match="Expected sequences of at least 1 residue, got an empty"):
        SequenceDataset.from_arrow(pa.array(["AC", bad]), np.arange(2))


def test_a_letter_that_is_no_residue_is_named() -> None:
    with pytest.raises(ValueError, match=f"Expected residue letters of {RESIDUES}, got '-'"):
        SequenceDataset.from_arrow(pa.array(["AC", "A-C*"]), np.arange(2))


def test_labels_and_sequences_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"Expected 2 labels, got 3\."):
        SequenceDataset.from_arrow(pa.array(["A", "C"]), np.arange(3))


def assert_is_slice_and_pad(
    batch: Batch, sequences: list[str], index: list[int], crops: Crops
) -> None:
    """Compare a batch with slices of the letters, made one by one."""
    parts = []
    for i in index:
        begin, end = crops.start[i], crops.start[i] + crops.length[i] + crops.gap_length[i]
        gap = begin + crops.gap_start[i]
        parts.append(sequences[i][begin:gap] + sequences[i][gap + crops.gap_length[i] : end])
    width = max(len(part) for part in parts)
    width += -width % 4
    rows = [encode(part).tolist() + [PAD] * (width - len(part)) for part in parts]
    assert batch.inputs.tolist() == rows
    assert batch.mask is not None
    assert batch.mask.tolist() == [[j < len(part) for j in range(width)] for part in parts]


@pytest.mark.parametrize("kind", ["random", "c_terminal", "internal_deletion", "fragment"])
@settings(deadline=None, max_examples=50)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_cutting_is_slicing_and_padding_to_a_multiple_of_four(
    kind: CropKind, data: st.DataObject, seed: int
) -> None:
    sequences = data.draw(
        st.lists(st.text(alphabet=RESIDUES, min_size=1, max_size=40), min_size=1, max_size=8)
    )
    index = data.draw(st.lists(st.integers(0, len(sequences) - 1), min_size=1, max_size=8))
    dataset = dataset_of(sequences)
    rule = CropRule(kind, min_fraction=0.1, mean_length=12)
    crops = draw_crops(dataset.lengths, rule=rule, rng=np.random.default_rng(seed))
    batch = dataset.cut(np.array(index), crops)
    assert_is_slice_and_pad(batch, sequences, index, crops)


@settings(deadline=None)
@given(data=st.data())
def test_any_crop_with_a_gap_is_two_slices(data: st.DataObject) -> None:
    # Also gaps at the very start or end of what is seen, which no rule draws.
    sequences = data.draw(
        st.lists(st.text(alphabet=RESIDUES, min_size=1, max_size=40), min_size=1, max_size=8)
    )
    rows = []
    for sequence in sequences:
        length = data.draw(st.integers(1, len(sequence)))
        gap_length = data.draw(st.integers(0, len(sequence) - length))
        start = data.draw(st.integers(0, len(sequence) - length - gap_length))
        rows.append((start, length, data.draw(st.integers(0, length)), gap_length))
    crops = Crops(*np.array(rows).T)
    index = list(range(len(sequences)))
    batch = dataset_of(sequences).cut(np.array(index), crops)
    assert_is_slice_and_pad(batch, sequences, index, crops)


def test_the_pieces_on_both_sides_of_a_deletion_become_neighbours() -> None:
    dataset = dataset_of(["MKVLWAEF", "ACDEFGHIKL"])
    # Of the first, from its second residue: KV, without LWA, then E. The second is not cut.
    crops = Crops(np.array([1, 0]), np.array([3, 10]), np.array([2, 0]), np.array([3, 0]))
    batch = dataset.cut(np.array([0, 1]), crops)
    assert batch.inputs[0].tolist() == encode("KVE").tolist() + [PAD] * 9
    assert batch.inputs[1].tolist() == encode("ACDEFGHIKL").tolist() + [PAD] * 2


@pytest.mark.parametrize("kind", ["n_terminal", "internal_deletion"])
def test_a_rule_of_any_kind_makes_batches_that_the_next_epoch_draws_anew(kind: CropKind) -> None:
    batches = SequenceBatches(many(), CropRule(kind), batch_size=8, max_residues=300, seed=0)
    first, second = dict(rows_of(batches, 0)), dict(rows_of(batches, 1))
    assert sorted(first) == sorted(second) == list(range(70))
    assert first != second


def test_labels_and_positions_go_with_their_sequences() -> None:
    dataset = SequenceDataset.from_arrow(pa.array(SEQUENCES), np.array([7, 5, 3, 1]))
    batch = dataset.cut(np.array([2, 0]), whole(dataset))
    assert batch.label.tolist() == [3, 7]
    assert batch.index.tolist() == [2, 0]


def test_a_batch_has_the_promised_types() -> None:
    batch = dataset_of(SEQUENCES).cut(np.array([0]), whole(dataset_of(SEQUENCES)))
    assert batch.mask is not None
    types = (batch.inputs.dtype, batch.mask.dtype, batch.label.dtype, batch.index.dtype)
    assert types == (torch.uint8, torch.bool, torch.int64, torch.int64)


def many() -> SequenceDataset:
    rng = np.random.default_rng(0)
    return dataset_of(["".join(rng.choice(list("ACDE"), rng.integers(5, 60))) for _ in range(70)])


def training(subset: NDArray[np.int64] | None = None, seed: int = 0) -> SequenceBatches:
    rule = CropRule("random")
    return SequenceBatches(many(), rule, batch_size=8, max_residues=300, seed=seed, subset=subset)


def cut_parts(epoch: Epoch, share: Share) -> list[list[Batch]]:
    """The parts of each batch that one process works on."""
    return [[part() for part in epoch.parts(number, share)] for number in range(len(epoch))]


def cut_all(epoch: Epoch) -> list[Batch]:
    """Every part of every batch, where there is one process."""
    return [part for parts in cut_parts(epoch, Share()) for part in parts]


def rows_of(batches: SequenceBatches, epoch: int) -> list[tuple[int, tuple[int, ...]]]:
    """Position and tokens of every example, in the order in which they come."""
    rows = []
    for batch in cut_all(batches.epoch(epoch)):
        for index, tokens in zip(batch.index.tolist(), batch.inputs.tolist(), strict=True):
            rows.append((index, tuple(token for token in tokens if token != PAD)))
    return rows


def test_an_epoch_has_every_sequence_once_and_knows_its_length() -> None:
    epoch = training().epoch(0)
    assert sorted(i for batch in cut_all(epoch) for i in batch.index.tolist()) == list(range(70))
    # 70 sequences, 8 a batch: 8 whole ones and one of 6.
    assert len(epoch) == 9
    assert sorted(len(epoch.examples(number)) for number in range(9)) == [6] + [8] * 8


def test_a_batch_says_beforehand_what_will_be_in_it() -> None:
    epoch = training().epoch(0)
    for number, parts in enumerate(cut_parts(epoch, Share())):
        assert [i for part in parts for i in part.index.tolist()] == epoch.examples(number).tolist()
        assert sum(int((part.inputs != PAD).sum()) for part in parts) == epoch.num_units(number)


def test_the_same_epoch_is_the_same_each_time() -> None:
    assert rows_of(training(), 3) == rows_of(training(), 3)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 4), (1, 3)], ids=["epoch", "seed"])
def test_another_epoch_or_seed_has_another_order_and_other_crops(seed: int, epoch: int) -> None:
    first, second = rows_of(training(), 3), rows_of(training(seed=seed), epoch)
    assert [i for i, _ in first] != [i for i, _ in second]
    assert dict(first) != dict(second)


def test_only_the_subset_takes_part_with_its_positions_in_the_data_set() -> None:
    subset = np.array([3, 10, 11, 40, 69])
    assert sorted(i for i, _ in rows_of(training(subset), 0)) == subset.tolist()


def test_a_subset_sees_its_own_sequences() -> None:
    batches = SequenceBatches(
        many(), whole(many()), batch_size=2, max_residues=300, subset=np.array([69, 3])
    )
    letters = letters_of(many())
    assert dict(rows_of(batches, 0)) == {i: tuple(encode(letters[i]).tolist()) for i in (3, 69)}


def test_no_batch_has_more_positions_than_allowed_padding_included() -> None:
    for batch in cut_all(training().epoch(0)):
        assert batch.inputs.numel() <= 300


@pytest.mark.parametrize("crop", ["random", "none"])
def test_neither_memory_nor_the_number_of_processes_changes_what_is_in_a_batch(
    crop: CropKind,
) -> None:
    def batches(max_residues: int) -> list[list[int]]:
        made = SequenceBatches(
            many(), CropRule(crop), batch_size=8, max_residues=max_residues, seed=3
        )
        epoch = made.epoch(1)
        return [epoch.examples(number).tolist() for number in range(len(epoch))]

    assert batches(60) == batches(300) == batches(10**6)


@pytest.mark.parametrize("halvings", [0, 1, 3])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_the_parts_of_all_processes_are_the_batch_within_the_budget_of_each(
    num_ranks: int, halvings: int
) -> None:
    epoch = training().epoch(0)
    shares = [Share(rank, num_ranks, halvings) for rank in range(num_ranks)]
    by_rank = [cut_parts(epoch, share) for share in shares]
    for number in range(len(epoch)):
        of_batch = [parts[number] for parts in by_rank]
        assert len({len(parts) for parts in of_batch}) == 1
        places = [i for parts in of_batch for part in parts for i in part.index.tolist()]
        assert sorted(places) == sorted(epoch.examples(number).tolist())
        for part in (part for parts in of_batch for part in parts):
            assert part.inputs.numel() <= 300 >> halvings or len(part.index) <= 1


def test_processes_get_sequences_of_similar_length() -> None:
    epoch = training().epoch(0)
    first, second = (cut_parts(epoch, Share(rank, 2)) for rank in range(2))
    for one, other in zip(first, second, strict=True):
        counts = [len(parts[0].index) for parts in (one, other)]
        residues = [int((parts[0].inputs != PAD).sum()) for parts in (one, other)]
        # The longest sequence has 59 residues, and every second one is taken of a sorted row.
        assert abs(counts[0] - counts[1]) <= 1
        assert abs(residues[0] - residues[1]) <= 59


def test_a_process_may_have_nothing_of_a_batch_and_still_has_a_part() -> None:
    batches = SequenceBatches(
        many(), whole(many()), batch_size=2, max_residues=300, subset=np.array([4, 5, 6])
    )
    (*_, last) = cut_parts(batches.epoch(0), Share(1, 2))
    (part,) = last
    assert part.inputs.shape == (0, 4)
    assert part.mask is not None
    assert (part.mask.shape, part.label.shape, part.index.shape) == ((0, 4), (0,), (0,))


def test_half_the_budget_is_parts_of_half_the_size() -> None:
    dataset = dataset_of(["ACDEFGHI"] * 16)
    batches = SequenceBatches(dataset, whole(dataset), batch_size=16, max_residues=128)
    sizes = {
        halvings: [
            len(part.index) for part in cut_parts(batches.epoch(0), Share(0, 1, halvings))[0]
        ]
        for halvings in (0, 1, 2, 9)
    }
    # 16 times 8 residues are 128; a budget of nothing is one sequence at a time.
    assert sizes == {0: [16], 1: [8, 8], 2: [4] * 4, 9: [1] * 16}


def test_an_epoch_has_few_shapes() -> None:
    rng = np.random.default_rng(0)
    dataset = dataset_of(["A" * length for length in rng.integers(1, 600, 2000)])
    batches = SequenceBatches(dataset, CropRule(), batch_size=8, max_residues=10**6, seed=0)
    widths = {batch.inputs.shape[1] for epoch in (0, 1) for batch in cut_all(batches.epoch(epoch))}
    # Of the 600 lengths: 32 up to 128, 16 up to 256, 16 up to 512, 3 beyond.
    assert len(widths) <= 32 + 16 + 16 + 3


def test_without_a_seed_batches_are_sorted_by_padded_length_and_crops_are_fixed() -> None:
    batches = SequenceBatches(many(), whole(many()), batch_size=8, max_residues=300)
    widths = [batch.inputs.shape[1] for batch in cut_all(batches.epoch(0))]
    assert all(first <= second for first, second in pairwise(widths))
    assert rows_of(batches, 0) == rows_of(batches, 1)


def test_fixed_crops_stay_while_the_order_changes() -> None:
    rule = CropRule("random")
    crops = draw_crops(many().lengths, rule=rule, rng=np.random.default_rng(9))
    batches = SequenceBatches(many(), crops, batch_size=8, max_residues=300, seed=0)
    first, second = rows_of(batches, 0), rows_of(batches, 1)
    assert dict(first) == dict(second)
    assert [i for i, _ in first] != [i for i, _ in second]


def test_a_crop_rule_without_a_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected fixed crops where `seed` is None, got a crop"):
        SequenceBatches(many(), CropRule(), batch_size=8, max_residues=300)
