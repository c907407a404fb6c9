"""Pseudonyms are drawn anew each time, and only the key tells whose they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import gac_app
from gac_app.storage.database.visitors import is_pseudonym_of, new_pseudonym
from tests.storage.samples import ALICE, BOB


def test_only_the_key_tells_whose_they_are() -> None:
    found = {new_pseudonym(ALICE) for _ in range(100)}
    assert len(found) == 100
    assert all(len(one) == 32 and is_pseudonym_of(ALICE, one) for one in found)
    assert not any(is_pseudonym_of(BOB, one) for one in found)
    assert not any(is_pseudonym_of(ALICE, one) for one in ("7", "", "f" * 32, "é" * 40))


def test_keys_are_compared_in_constant_time() -> None:
    secret = re.compile(r"(\w*\.)*(owner|proof|visitor_key)|(owner_of|_proof)\(.*\)")
    for folder in ("services", "storage", "server", "ui"):
        for path in (Path(gac_app.__file__).parent / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                    continue
                sides = [node.left, *node.comparators]
                assert not any(secret.fullmatch(ast.unparse(side)) for side in sides), f"{path}: {ast.unparse(node)}"
