"""Packs hold every row once, stay within their budget, and follow from seed and epoch alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from pediatricsgpt.errors import UserError
from pediatricsgpt.training.batches import (
    PackedRows,
    Packs,
    Piece,
    batch,
    best_fit_decreasing,
    exactly,
    pieces,
    single,
)

LENGTHS = st.lists(st.integers(1, 60), min_size=4, max_size=80)


def _tokens(packs: Packs) -> Counter[tuple[int, int]]:
    """Each (row, token) and how often it comes in this epoch."""
    return Counter((part.row, place) for pack in packs for part in pack for place in range(part.start, part.stop))


@given(lengths=LENGTHS, processes=st.integers(1, 4), epoch=st.integers(0, 3))
def test_every_token_of_every_row_comes_once_an_epoch(lengths: list[int], processes: int, epoch: int) -> None:
    packs = Packs(pieces(lengths, 16, "bfd_split"), 24, seed=5, processes=processes)
    packs.set_epoch(epoch)
    assert _tokens(packs) == Counter((row, place) for row, length in enumerate(lengths) for place in range(length))
    assert all(sum(part.stop - part.start for part in pack) <= 24 for pack in packs)
    assert len(list(packs)) == len(packs)
    assert len(packs) % processes == 0


@given(lengths=LENGTHS, processes=st.integers(1, 4), count=st.integers(1, 5))
def test_so_many_rows_a_pack_use_every_row_once(lengths: list[int], processes: int, count: int) -> None:
    packs = Packs(pieces(lengths, 60, "bfd"), 0, seed=1, processes=processes, count=count)
    epochs = []
    for epoch in (0, 0, 1):
        packs.set_epoch(epoch)
        epochs.append(list(packs))
        assert sorted(part.row for pack in epochs[-1] for part in pack) == list(range(len(lengths)))
        assert len(epochs[-1]) == len(packs)
        assert len(packs) % processes == 0
        assert max(len(pack) for pack in epochs[-1]) <= count
    assert epochs[0] == epochs[1]


@given(lengths=LENGTHS)
def test_whole_rows_stay_whole(lengths: list[int]) -> None:
    packs = Packs(pieces(lengths, 60, "bfd"), 64, seed=1)
    found = sorted(part for pack in packs for part in pack)
    assert found == [Piece(row, 0, length) for row, length in enumerate(lengths)]


def test_an_epoch_is_the_same_again_and_another_one_is_not() -> None:
    lengths = [7, 3, 9, 4, 4, 4, 8, 2, 5, 5] * 5
    first, second = (Packs(pieces(lengths, 16, "bfd"), 16, seed=2) for _ in range(2))
    orders = []
    for epoch in (0, 1, 2):
        for packs in (first, second):
            packs.set_epoch(epoch)
        assert list(first) == list(second)
        orders.append(list(first))
    assert orders[0] != orders[1] != orders[2]
    assert list(Packs(pieces(lengths, 16, "bfd"), 16, seed=3)) != orders[0]


def test_processes_get_packs_of_nearly_equal_size() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(62, 368, (400,), generator=generator).tolist()
    packs = list(Packs(pieces(lengths, 512, "bfd"), 512, seed=0, processes=2))
    sizes = [sum(part.stop - part.start for part in pack) for pack in packs]
    waits = [abs(a - b) / max(a, b) for a, b in zip(sizes[::2], sizes[1::2], strict=True)]
    assert sum(waits) / len(waits) < 0.02
    assert sum(sizes) / (512 * len(sizes)) > 0.97


def test_the_order_of_rows_is_the_same_for_any_number_of_processes() -> None:
    lengths = [1 + number * 37 % 60 for number in range(200)]
    alone = Packs(pieces(lengths, 64, "bfd"), 64, seed=0)
    for processes in (2, 3, 8):
        several = Packs(pieces(lengths, 64, "bfd"), 64, seed=0, processes=processes)
        for epoch in range(3):
            alone.set_epoch(epoch)
            several.set_epoch(epoch)
            packs = list(several)
            assert packs[: len(alone)] == list(alone)
            assert not any(packs[len(alone) :])
            assert len(packs) == len(several) == -(-len(alone) // processes) * processes


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_bins_are_those_of_a_plain_search(sizes: list[int]) -> None:
    sizes.sort(reverse=True)
    rooms: list[int] = []
    for size in sizes:  # the obvious way: look at every bin
        fitting = [number for number, room in enumerate(rooms) if room >= size]
        if fitting:
            best = min(fitting, key=lambda number: rooms[number])
            rooms[best] -= size
        else:
            rooms.append(20 - size)
    bins = best_fit_decreasing(sizes, 20)
    assert sorted(20 - sum(sizes[place] for place in bin_) for bin_ in bins) == sorted(rooms)
    assert sorted(place for bin_ in bins for place in bin_) == list(range(len(sizes)))


@pytest.mark.parametrize("tokens", [1, 17, 30, 95])
def test_a_token_budget_is_met_exactly(tokens: int) -> None:
    parts = exactly([10, 7, 13], tokens, 8, seed=4)
    assert sum(part.stop - part.start for part in parts) == tokens
    assert parts == exactly([10, 7, 13], tokens, 8, seed=4)
    often = Counter(part.row for part in exactly([10, 7, 13], 90, 8, seed=4))
    assert often == {0: 6, 1: 3, 2: 6}  # three rounds over the set


def test_a_batch_holds_what_follows_in_the_same_document() -> None:
    made = batch([([5, 6, 7], [-100, 6, 7]), ([8], [8]), ([9, 4], [9, 4])])
    assert made["input_ids"].tolist() == [[5, 6, 7, 8, 9, 4]]
    assert made["position_ids"].tolist() == [[0, 1, 2, 0, 0, 1]]
    assert made["shift_labels"].tolist() == [[6, 7, -100, -100, 4, -100]]
    assert made["loss_positions"].tolist() == [0, 1, 4]


def test_a_pack_is_read_from_its_rows() -> None:
    rows = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}, {"input_ids": [5, 6], "labels": [-100, 6]}]
    data = PackedRows(rows, Packs(pieces([4, 2], 3, "bfd_split"), 4, seed=0))
    made = data[(Piece(0, 3, 4), Piece(1, 0, 2))]
    assert made["input_ids"].tolist() == [[4, 5, 6]]
    assert made["shift_labels"].tolist() == [[-100, 6, -100]]


def test_a_process_without_a_row_left_gets_a_token_without_loss() -> None:
    packs = Packs(pieces([3, 3, 3], 4, "bfd"), 4, seed=0, processes=2)
    data = PackedRows([{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}] * 3, packs)
    losses = [len(data[pack]["loss_positions"]) for pack in packs]
    assert sorted(losses) == [0, 2, 2, 2]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_of_several_resumes_where_it_was(rank: int) -> None:
    lengths = [7, 3, 9, 4, 4, 4, 8, 2, 5, 5] * 3
    rows = [{"input_ids": [row] * length, "labels": [row] * length} for row, length in enumerate(lengths)]

    def loader() -> Any:
        packs = Packs(pieces(lengths, 16, "bfd"), 16, seed=2, processes=2)
        plain = DataLoader(PackedRows(rows, packs), batch_size=1, sampler=packs, collate_fn=single)
        return prepare_data_loader(plain, num_processes=2, process_index=rank, put_on_device=False)

    whole, resumed = loader(), skip_first_batches(loader(), 2)
    for each in (whole, resumed):
        each.set_epoch(3)
    batches, rest = (list(each.base_dataloader) for each in (whole, resumed))
    assert len(batches) == len(rest) + 2
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(batches[2:], rest, strict=True))


def test_what_cannot_be_packed_is_said() -> None:
    with pytest.raises(UserError, match="row 1 has 9 tokens, more than max_length 8"):
        pieces([3, 9], 8, "bfd")
    with pytest.raises(UserError, match="row 0 has no tokens"):
        pieces([0], 8, "bfd")
    with pytest.raises(UserError, match="there are no rows to pack"):
        Packs([], 8, seed=0)
    with pytest.raises(UserError, match="a row of 9 tokens does not fit into a pack of 8"):
        Packs(pieces([9], 9, "bfd"), 8, seed=0)
    with pytest.raises(UserError, match="this set has no tokens"):
        exactly([], 5, 8, seed=0)
