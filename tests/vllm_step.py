"""What a step of an ensemble with a member on vLLM takes: `python -m tests.vllm_step [ROUNDS]`, with vLLM installed.

Makes two random models of Llama's kind with two layers, one for vLLM and one for transformers, each on one thread, and
measures in turn: vLLM's own generation, without log-probabilities and with 64, and steps that ask both members.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import gac_app
from gac_app.models.remote.vllm_engine import VllmEngine
from tests.models import tiny

NUM_TOKENS = 60
SIZES = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 1024}


async def own(engine: Any, num_logprobs: int | None, name: str) -> list[float]:
    """When each token of vLLM's own generation is there, in seconds."""
    greedy = {"max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True, "detokenize": False}
    params = engine._vllm.SamplingParams(**greedy, logprobs=num_logprobs, output_kind=engine._vllm.DELTA)
    prompt = {"type": "token", "prompt_token_ids": [5, 6, 7, 8]}
    return [time.perf_counter() async for _ in engine._llm.generate(prompt, params, name)]


def steps(ensemble: Any, prompt: str) -> list[float]:
    """When each step has ended."""
    told = ensemble.stream(prompt, mode="every-step", max_new_tokens=NUM_TOKENS, raw=True)
    return [time.perf_counter() for _ in told]


def main() -> None:
    shared: dict[str, Any] = {"context_length": 1024, "num_threads": 1, "dtype": "float32"}
    by_vllm = {"backend": "vllm", "vllm": {"kv_cache_memory_bytes": 1 << 28, "enforce_eager": True}}
    with tempfile.TemporaryDirectory() as name:
        paths = [str(tiny.save_llama(Path(name) / part, seed, **SIZES)) for seed, part in enumerate("ab")]
        members = [{"name": s[-1], "source": s, **shared, **more} for s, more in zip(paths, (by_vllm, {}), strict=True)]
        with gac_app.load({"members": members}) as ensemble:
            engine = next(one for one in gc.get_objects() if isinstance(one, VllmEngine))
            steps(ensemble, "warm up")
            for turn in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
                taken = {"steps": steps(ensemble, f"The cat {turn}")}
                for num in (None, 64):
                    work = own(engine, num, f"own-{turn}-{num}")
                    taken[f"own, {num} told"] = asyncio.run_coroutine_threadsafe(work, engine._loop).result()
                print({what: f"{1000 * middle(at):.2f} ms" for what, at in taken.items()})


def middle(at: list[float]) -> float:
    """The median time between two."""
    return statistics.median(after - before for before, after in pairwise(at))


if __name__ == "__main__":
    main()
