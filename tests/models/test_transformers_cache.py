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


def content(cache: KeyValueCache) -> list[float]:
    keys_1HND, values_1HND = cache.positions(0, 0, cache.length)
    assert torch.equal(keys_1HND, -values_1HND)
    assert torch.equal(keys_1HND, keys_1HND[:, :1, :, :1].expand_as(keys_1HND))
    return keys_1HND[0, 0, :, 0].tolist()


def test_what_was_written_stays_through_growing_and_rewinding() -> None:
    cache = KeyValueCache()
    for first in range(0, 300, 3):
        write(cache, first, 3)
    assert content(cache) == list(range(300))
    cache.rewind(100)
    write(cache, 500, 2)
    assert content(cache) == [*range(100), 500, 501]


def test_what_no_pass_completed_does_not_count() -> None:
    cache = KeyValueCache()
    write(cache, 0, 5)
    cache.write(0, states(90, 4), -states(90, 4))
    assert content(cache) == [0, 1, 2, 3, 4]
    write(cache, 5, 1)
    assert content(cache) == [0, 1, 2, 3, 4, 5]


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


def test_a_fork_goes_its_own_way() -> None:
    cache = KeyValueCache()
    write(cache, 0, 10)
    forked = cache.fork()
    write(cache, 10, 1)
    write(forked, 77, 2)
    assert content(cache) == list(range(11))
    assert content(forked) == [*range(10), 77, 78]


def test_a_fork_of_an_empty_cache_is_empty() -> None:
    forked = KeyValueCache().fork()
    write(forked, 4, 1)
    assert content(forked) == [4]
