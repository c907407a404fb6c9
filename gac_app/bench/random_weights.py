"""Ensembles of any number of models with random weights: real forward passes without files.

Only the tokenizer is a member's of `configs/transformers-cpu.yaml`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.bench.workbench import Workbench
from gac_app.config import Config
from gac_app.environment import cache_dir
from gac_app.member_config import MemberConfig

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.models.hf import TransformersModel

CONTEXT_LENGTH = 4096
# About 46 million parameters, most of them in the embedding of the 49,152 tokens.
_SHAPE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8}
_HEADS = {"num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True}


def random_ensemble(bench: Workbench, num_members: int) -> Ensemble:
    """Members of equal size on the CPU, its cores shared among them.

    Args:
        bench: gives its first member's tokenizer to all of them.
    """
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.executors.threads import ThreadMember
    from gac_app.models.hardware import available_cores
    from gac_app.vocab.cache import unite

    num_threads = max(1, available_cores() // num_members)
    models = [_random_model(bench, seed, num_threads) for seed in range(num_members)]
    with tempfile.TemporaryDirectory() as folder:
        mappings = unite([model.vocabulary for model in models], Path(folder))
    members = tuple(MemberConfig(name=model.name, source=f"random:{seed}") for seed, model in enumerate(models))
    config = Config(members=members)
    return Ensemble([ThreadMember(*pair) for pair in zip(models, mappings, strict=True)], config)


def _random_model(bench: Workbench, seed: int, num_threads: int) -> TransformersModel:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from gac_app.models.hf import TransformersModel, converted

    directory = converted(bench.files(bench.config.members[0]).path, cache_dir(bench.config))
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    shape = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=CONTEXT_LENGTH, eos_token_id=0, **_SHAPE, **_HEADS
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(shape).eval()
    return TransformersModel(f"random {seed}", model, tokenizer, num_threads=num_threads)
