"""ZeroGPU Spaces: each run decodes in a process forked for it, which has a GPU for a limited time.

The models are loaded before, in the main thread, where the `spaces` package emulates a GPU. Threads
and locks do not survive a fork, so the members run inline, in an ensemble that the forked process makes for itself.
What crosses between the processes are parts and events: plain values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.together import DecodesTogether, Part, Together, decode_together
from gac_app.errors import GacError

START_S = 10.0  # for the models to move to the GPU
STEP_S = 0.04  # of one answer
MIN_S, MAX_S = 15, 120  # visitors without a plan are refused more

Gpu = Callable[..., DecodesTogether]  # `spaces.GPU`, which takes a task and its `duration`


def seconds_for(parts: tuple[Part, ...]) -> int:
    """Seconds of GPU time to ask for. A run that takes longer is cut off; one that asks for more waits longer."""
    num_steps = sum(part.settings.max_new_tokens for part in parts)
    return round(min(max(START_S + STEP_S * num_steps, MIN_S), MAX_S))


def on_zero_gpu(ensemble: Ensemble, gpu: Gpu) -> DecodesTogether:
    """A function that decodes the parts of a run on a GPU of its own. Call this before the page is launched.

    Args:
        ensemble: of inline members, whose models the forked process takes over.
    """

    def decode(parts: tuple[Part, ...]) -> Together:
        torch.set_num_threads(1)  # torch's threads do not survive a fork
        yield from decode_together(
            Ensemble(list(ensemble.members.values()), ensemble.config, devices_disjoint=False), parts
        )

    decode_there = gpu(decode, duration=seconds_for)

    def decode_or_say_why(parts: tuple[Part, ...]) -> Together:
        try:
            yield from decode_there(parts)
        except Exception as error:
            # Messages of Gradio's errors are for visitors, such as that their GPU time is used up.
            if message := getattr(error, "message", None):
                raise GacError(str(message)) from error
            raise

    return decode_or_say_why
