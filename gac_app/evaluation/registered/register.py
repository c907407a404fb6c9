"""What is kept of a registered study: when and how it was registered, what was chosen, and that it was judged.

It stands beside the study's file, to be published with the page. A second record of each task lies with the cached
answers and lists its held-out questions, so that no other study can judge one of them again with the same members.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.registered.protocol import Part, Protocol
from gac_app.evaluation.running import System, code_and_weights, digest_of, facts_of_members, replace_file
from gac_app.evaluation.tasks import normalised


class Register:
    """The record of one study.

    Args:
        path: of the study's file.
        folder: of the records of all judged questions.
        systems: grid and rivals; their rules' code may not change either.

    Raises:
        RequestError: the study has changed since it was registered, or the record is damaged.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        protocol: Protocol,
        config: Config,
        parts: list[Part],
        systems: Sequence[System],
    ) -> None:
        self.path = path.with_suffix(".register.json")
        self._study, self._folder, self._config, self._parts = path.stem, folder, config, parts
        self._found: dict[str, Any] = self._read()
        asked_first = [[question.model_dump(mode="json") for question in part.development] for part in parts]
        settings = protocol.model_dump(mode="json", exclude={"tasks", "config"})
        self._digest = digest_of(
            [settings, config.settings.model_dump(mode="json"), asked_first, _facts(config, parts)]
        )
        self._loaded = digest_of(code_and_weights(config, systems))
        known = {"loaded": self._loaded, **self._found}  # records of before have no "loaded"
        if self._found and (known["digest"], known["loaded"]) != (self._digest, self._loaded):
            raise RequestError(
                "study",
                f"{path}: the study, its members, rules or questions have changed since it was registered on "
                f"{self.registered_on}; give a changed study a name of its own",
            )

    @property
    def is_new(self) -> bool:
        return not self._found

    @property
    def registered_on(self) -> str:
        """The day, UTC, ISO 8601."""
        return str(self._found["registered_at"])[:10]

    @property
    def seconds_per_step(self) -> dict[str, float]:
        """Of each task: of one member's forward pass for a step, as measured when the study was registered."""
        return dict(self._found["seconds_per_step"])

    @property
    def steps_per_answer(self) -> dict[str, float]:
        """Of each task, as measured then."""
        return dict(self._found["steps_per_answer"])

    def register(self, seconds_per_step: dict[str, float], steps_per_answer: dict[str, float]) -> None:
        """Say what will be done."""
        self._found = {
            "registered_at": _now(),
            "digest": self._digest,
            "loaded": self._loaded,
            "seconds_per_step": seconds_per_step,
            "steps_per_answer": steps_per_answer,
        }
        self._write(self.path, self._found)

    def refuse_judged(self) -> None:
        """Raise RequestError if the held-out questions of a task were judged before."""
        if judged_at := self._found.get("judged_at"):
            raise RequestError("study", f"{self._study} was judged on {judged_at[:10]}; it is judged once")
        records = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(self._folder.glob("*.json"))}
        for part in self._parts:
            own, asked = self._record(part), self._asked(part)
            for path, kept in records.items():
                seen = asked if path == own else asked & set(kept.get("questions", ()))  # records of before list none
                is_own = kept["digest"] == self._digest and kept["study"] == self._study
                if seen and (not is_own or "judged_at" in kept):
                    done = "judged" if "judged_at" in kept else "opened"
                    raise RequestError(
                        "study",
                        f"{len(seen)} of {len(asked)} held-out questions of {part.task.name} were {done} with these "
                        f"members by {kept['study']} on {kept['opened_at'][:10]}; take questions that nobody has seen",
                    )

    def open_held_out(self, chosen: dict[str, str]) -> None:
        """Fix the chosen settings, by task, before a held-out question is asked."""
        if self._found.setdefault("chosen", chosen) != chosen:
            raise RequestError("study", f"{self._study}: another setting was chosen before; its answers have changed")
        self._write(self.path, self._found)
        for part in self._parts:
            if not self._record(part).exists():
                self._write(self._record(part), self._opened(part, _now()))

    def close(self) -> None:
        """Say that the study was judged and its page is written."""
        self._found["judged_at"] = now = _now()
        self._write(self.path, self._found)
        for part in self._parts:
            self._write(self._record(part), {**self._opened(part, now), "judged_at": now})

    def _opened(self, part: Part, now: str) -> dict[str, Any]:
        return {"study": self._study, "digest": self._digest, "opened_at": now, "questions": sorted(self._asked(part))}

    def _asked(self, part: Part) -> set[str]:
        """Digests of the held-out questions, each as asked of these members."""
        members = facts_of_members(self._config)
        return {digest_of([members, normalised(question.as_prompt, "text")]) for question in part.held_out}

    def _record(self, part: Part) -> Path:
        return self._folder / f"{digest_of(_facts(self._config, [part]))}.json"

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RequestError("study", f"{self.path}: is damaged ({error})") from None
        return found

    @staticmethod
    def _write(path: Path, value: dict[str, Any]) -> None:
        replace_file(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def _facts(config: Config, parts: list[Part]) -> list[Any]:
    """What is asked of whom: the members as they answer, the tasks, and the held-out questions."""
    return [
        facts_of_members(config),
        [[part.task.model_dump(mode="json"), [q.model_dump(mode="json") for q in part.held_out]] for part in parts],
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
