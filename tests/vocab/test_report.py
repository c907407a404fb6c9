from __future__ import annotations

from gac_app.vocab.report import report
from tests.vocab.vocabularies import vocabulary


def test_shares_count_distinct_texts_only() -> None:
    first = vocabulary([b"a", b"b", b"a", b"c", b"d", None, b"<e>"], end_ids=[6])
    second = vocabulary([b"a", b"c", b"<e>", None])
    found = report([first, second])
    assert found.sizes == (7, 4)
    assert found.num_shared == (2, 2)
    assert found.overlap == ((1.0, 0.5), (2 / 3, 1.0))


def test_shared_means_by_all_members() -> None:
    found = report([vocabulary([b"a", b"b"]), vocabulary([b"a", b"c"]), vocabulary([b"b", b"a"])])
    assert found.num_shared == (1, 1, 1)
    assert found.overlap == ((1.0, 0.5, 1.0), (0.5, 1.0, 0.5), (1.0, 0.5, 1.0))
