"""Writes a battle to the database while it runs. `judging` writes its judgements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gac_app.arena.outcomes import Origin
from gac_app.services.battles.battles import Battle
from gac_app.services.queue.shares import voter_of
from gac_app.services.settling import log_failure
from gac_app.storage import ANSWERED, CONTINUING, NewBattle, Store


class BattleRecorder:
    """Keeps the rows of battles up to date.

    Args:
        config_hash: identifies the configuration.
        versions: of the packages that affect results.
    """

    def __init__(self, store: Store, config_hash: str, versions: Mapping[str, str]) -> None:
        self._store = store
        self._config_hash = config_hash
        self._versions = versions

    def started(self, battle: Battle, visitor_key: str) -> None:
        """Write the battle as started."""
        new = NewBattle(
            battle_id=battle.id,
            visitor_key=visitor_key,
            left=battle.pair["left"].name,
            right=battle.pair["right"].name,
            body=battle.body(self._versions),
            origin=Origin.PEOPLE,
            is_blind=True,
            language=battle.language,
            config_hash=self._config_hash,
            client=voter_of(battle.client),
        )
        log_failure(self._store.battles.start(new), f"battle {battle.id}")

    def continues(self, battle: Battle) -> None:
        """Write that another turn is being answered, so no other server may judge the battle."""
        self._update(battle, CONTINUING)

    def ended(self, battle: Battle) -> None:
        """Write the battle's final status and its whole record."""
        status = "skipped" if battle.is_skipped else "void" if battle.is_void else ANSWERED
        self._update(battle, status, battle.body(self._versions))

    def _update(self, battle: Battle, status: str, body: Mapping[str, Any] | None = None) -> None:
        log_failure(self._store.battles.update(battle.id, status, body), f"battle {battle.id}")
