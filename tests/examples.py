"""How many examples a law gets whose every example takes long."""

from __future__ import annotations

from hypothesis import settings

FEW = settings(max_examples=settings().max_examples // 2)  # half of what the chosen profile gives other laws
