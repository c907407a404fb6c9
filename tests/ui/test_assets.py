"""The page's files: vendored libraries are those that are pinned."""

from __future__ import annotations

import hashlib
import json
import re

from gac_app.folders import STATIC_DIR
from gac_app.ui import assets
from gac_app.ui.requests import Fields, Reply

VENDOR = STATIC_DIR / "vendor"


def test_vendored_libraries_are_pinned_and_licensed() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \|.*`(\S+\.LICENSE)` \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M
    )
    assert {name for name, _, _ in rows} == {path.name for path in VENDOR.glob("*.js")}
    for name, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / licence).stat().st_size > 500


def test_a_function_for_the_script_has_no_annotations() -> None:
    def greet(fields: Fields) -> Reply:
        return {"said": fields.text("name")}

    offered = assets._rendered(greet)
    assert (offered.__name__, offered.__annotations__) == ("greet", {})
    assert json.loads(offered({"name": "Ada"}).body) == {"said": "Ada"}
