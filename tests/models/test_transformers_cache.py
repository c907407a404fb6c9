"""Keys and values of one sequence: written, rewound, forked, grown."""

from __future__ import annotations

import torch

from gac_app.models.hf.attention import KeyValueCache


def states(first: int, num: int) -> torch.Tensor:
    """Recognisable keys at positions from `first` on: [1, 2, num, 3]."""
    return torch.arange(first, first + num, dtype=torch.float32)[:, None].expand(1, 2, num, 3)


def write(cache: KeyValueCache, first: int, num: int) -> None:
    cache.write(0, states(first, num), -states(first, num))
    cache.length += num


def test_a_step_copies_no_more_than_its_own_position() -> None:
    cache = KeyValueCache()
    write(cache, 0, 1000)
    addresses = set()
    for position in range(1000, 1200):
        write(cache, position, 1)
        addresses.add(cache.positions(0, 0, 1)[0].data_ptr())
    assert len(addresses) == 1


def test_room_grows_with_the_length_and_not_much_beyond_it() -> None:
    cache = KeyValueCache()
    write(cache, 0, 4000)
    assert cache.positions(0, 0, 1)[0].untyped_storage().nbytes() <= 1.25 * 4000 * 2 * 3 * 4
