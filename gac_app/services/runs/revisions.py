"""How a run replaces an earlier one in its conversation: with another prompt or settings, from another token on, with
one answer regenerated, or with answers extended beyond their limit. Each is a new run; the earlier one is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gac_app.decoding.trace import FinishReason
from gac_app.errors import Phrase, RequestError
from gac_app.services.runs.live_run import LiveStream, RunPlan
from gac_app.services.runs.views import ENSEMBLE, RunView, StreamView, step_at
from gac_app.settings import MAX_NEW_TOKENS, Settings

if TYPE_CHECKING:  # they load torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.loop import Branch

_MAX_SEED = 2**63 - 1


def branched(parent: RunView, ensemble: Ensemble, position: int, token_id: int) -> RunPlan:
    """Every stream continues from the middle of the ensemble's answer with another token.

    Args:
        position: of the ensemble's token to replace.
        token_id: an alternative listed in the step's trace.

    Raises:
        RequestError: there is no such step or token, or today's members lack a token.
        NotFoundError: the steps are not known here; see `RunView.steps_of`.
    """
    from gac_app.decoding.loop import Branch

    steps = parent.steps_of(ENSEMBLE)
    step = step_at(steps, position)
    listed = {c.token_id: c.token for c in (*step.top, *(c for member in step.members for c in member.top))}
    if token_id not in listed:
        raise RequestError("token", Phrase("Choose one of the alternatives listed for this token."))
    branch = Branch(tuple(steps[:position]), listed[token_id])
    ensemble.check_branch(branch)
    return _part_of(
        parent,
        branch_position=position,
        swap=(step.token, listed[token_id]),
        branches=dict.fromkeys(parent.streams, branch),
    )


def regenerated(parent: RunView, stream: str, versions: Sequence[RunView]) -> RunPlan:
    """One stream's answer is sampled with the next seed that none of the turn's `versions` has, of a branch from its
    swapped token on; the others are copied. Raises RequestError.
    """
    if stream not in parent.streams:
        raise RequestError("stream", f"expected one of {', '.join(parent.streams)}")
    taken = {run.seeds.get(stream, run.settings.seed) for run in (parent, *versions)}
    seed = parent.seeds.get(stream, parent.settings.seed)
    while seed in taken:
        seed = 0 if seed >= _MAX_SEED else seed + 1
    beginning = _beginning(parent)
    branches = {stream: beginning} if beginning else {}
    seeds = {**parent.seeds, stream: seed}
    return _part_of(parent, kept=_copies(parent, {stream}), seeds=seeds, branches=branches)


def _beginning(run: RunView) -> Branch | None:
    """How every answer of a branch begins; None for other runs, and where the ensemble's answer is lost."""
    from gac_app.decoding.loop import Branch

    steps = run.streams[ENSEMBLE].steps if ENSEMBLE in run.streams else ()
    if run.branch_position is None or run.swap is None or run.branch_position > len(steps):
        return None
    return Branch(tuple(steps[: run.branch_position]), run.swap[1])


def extended(parent: RunView, ensemble: Ensemble, stream: str = "") -> RunPlan:
    """Answers that were stopped continue, and for as many tokens again those that reached their limit: one, or without
    `stream` all; the others are copied. Raises RequestError.
    """
    limit = parent.settings.max_new_tokens
    chosen = {key: one.finished for key, one in parent.streams.items() if stream in ("", key)}
    ended = {key: end for key, end in chosen.items() if end and (end.reason is FinishReason.ABORT or end.is_cut)}
    if not ended:
        raise RequestError(
            "run", Phrase("Only an answer that was stopped or reached its maximum length can be continued.")
        )
    if any(end.is_cut and end.num_tokens >= limit for end in ended.values()):  # a copied one was cut before
        if limit >= MAX_NEW_TOKENS:
            raise RequestError(
                "max_new_tokens",
                Phrase("This run has reached the largest maximum length, {count} tokens.", count=f"{MAX_NEW_TOKENS:,}"),
            )
        limit = min(2 * limit, MAX_NEW_TOKENS)
    branches = {key: _so_far(parent, parent.streams[key]) for key in ended}
    for branch in branches.values():
        ensemble.check_branch(branch)
    settings = parent.settings.model_copy(update={"max_new_tokens": limit})
    return _part_of(parent, settings=settings, kept=_copies(parent, set(ended)), branches=branches)


def compared(parent: RunView, settings: Settings) -> RunPlan:
    """The ensemble answers again with other settings, so that both answers stand side by side. Raises RequestError."""
    if ENSEMBLE not in parent.streams:
        raise RequestError("run", Phrase("This run has no answer of the ensemble."))
    if parent.branch_position is not None:
        raise RequestError("run", Phrase("This run is a branch. Compare settings on the original run."))
    if not have_other_answers(parent.settings, settings):
        raise RequestError("settings", Phrase("These are the settings of this run. Choose others."))
    return replacing(parent, settings=settings, streams=[ENSEMBLE])


def have_other_answers(one: Settings, other: Settings) -> bool:
    """Whether settings differ in more than the answers' length."""
    return one.model_copy(update={"max_new_tokens": other.max_new_tokens}) != other


def replacing(parent: RunView, **changes: Any) -> RunPlan:
    """A run in the place of another, with the same prompt and settings but for the changes."""
    same = {name: getattr(parent, name) for name in ("prompt", "settings", "conversation_id", "turns", "turn_ids")}
    return RunPlan(**{**same, "parent_run_id": parent.id, **changes})


def _part_of(parent: RunView, **changes: Any) -> RunPlan:
    """As `replacing`, where new text continues the other's answers: it has the same streams and seeds, and is a part of
    the same branch.
    """
    same = {"streams": parent.streams.keys(), "seeds": parent.seeds}
    return replacing(parent, **{**same, "branch_position": parent.branch_position, "swap": parent.swap, **changes})


def _so_far(run: RunView, stream: StreamView) -> Branch:
    """An answer's steps; of one that was stopped before its branch's swapped token, that too."""
    from gac_app.decoding.loop import Branch

    is_before_swap = run.swap is not None and len(stream.steps) == run.branch_position
    return Branch(tuple(stream.steps), run.swap[1] if run.swap and is_before_swap else None)


def _copies(run: RunView, without: set[str]) -> dict[str, LiveStream]:
    streams = {key: stream for key, stream in run.streams.items() if key not in without}
    return {key: LiveStream(stream.name, events=list(stream.events)) for key, stream in streams.items()}
