"""What the operator of an arena sets while the server runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, ValidationError

from gac_app.errors import RequestError
from gac_app.validation import Frozen, fault_of

Weight = Annotated[float, Field(ge=0.0, le=100.0)]


class Controls(Frozen):
    """The operator's settings of an arena.

    Attributes:
        is_paused: no battle can be started.
        battles_per_day: of all visitors together, by UTC days; 0 = no limit.
        weights: of contestants in the draw; missing = 1, 0 = it rests.
    """

    is_paused: bool = False
    battles_per_day: int = Field(0, ge=0, le=10_000_000)
    weights: dict[str, Weight] = Field(default_factory=dict, max_length=1000)

    def drawn(self, contestants: Sequence[str]) -> list[str]:
        """The contestants that do not rest; all, if fewer than two are left."""
        awake = [name for name in contestants if self.weights.get(name, 1.0) > 0]
        return awake if len(awake) > 1 else list(contestants)


def controls_of(value: object) -> Controls:
    """The controls from JSON, decoded or not. Raises RequestError."""
    try:
        return Controls.model_validate_json(value) if isinstance(value, bytes) else Controls.model_validate(value)
    except ValidationError as error:
        place, message = fault_of(error)
        raise RequestError(place or "controls", message) from None
