from __future__ import annotations

import json

from gac_app.config import Settings
from gac_app.ui.inspection import describe_step
from tests.ui.planted import planted_step


def test_a_step_is_described_as_plain_json() -> None:
    seen = describe_step(planted_step(1, " is"), Settings(gate="Small", threshold=0.5))
    assert json.loads(json.dumps(seen)) == seen
    assert (seen["label"], seen["is_ensembled"], seen["winner"]) == ("␣is", True, "Small")
    assert [(row["label"], row["is_chosen"]) for row in seen["top"]] == [("␣is", True), ("␣instead", False)]
    assert seen["spellings"] == {"Small": ["␣is"], "Large": ["␣is"]}


def test_parts_of_the_chosen_token_are_weight_times_probability() -> None:
    seen = describe_step(planted_step(1, " is"), Settings(gate="Small"))
    parts = {part["member"]: round(part["prob"], 6) for part in seen["top"][0]["parts"]}
    assert parts == {"Small": 0.3, "Large": 0.2}  # 0.5 x 0.6 and 0.5 x 0.4


def test_end_is_a_candidate_like_any_other() -> None:
    seen = describe_step(planted_step(6, ""), Settings(gate="Small"))
    assert seen["is_end"]
    assert seen["top"][0]["label"] == "END"
