"""GGUF files for transformers: de-quantised to float32 once, and kept in the cache as safetensors and tokenizer.json.

Converting takes tens of seconds (Gemma's tokenizer alone 17), loading the result a few.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gac_app.errors import ModelLoadError
from gac_app.models.derived import derived

_FORMAT = 1  # version of the converted files; a new number converts again


def converted(gguf: Path, cache_dir: Path) -> Path:
    """The directory with the file's model, laid out as on the Hub.

    Raises:
        ModelLoadError: transformers cannot read the file.
    """
    try:
        return derived(gguf, cache_dir / "converted", lambda folder: _convert(gguf, folder), _FORMAT)
    except OSError as error:
        raise ModelLoadError(f"{gguf.name}: the converted model cannot be kept: {error}") from error


def _convert(gguf: Path, folder: Path) -> None:
    model, tokenizer = _read(gguf)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _read(gguf: Path) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    except Exception as error:  # a damaged file can fail anywhere in several libraries
        raise ModelLoadError(f"{gguf.name}: transformers cannot read this GGUF file: {_first_line(error)}") from error
    # With these two set, the model counts as quantised and refuses to be saved.
    model.hf_quantizer = None
    del model.config.quantization_config
    return model, tokenizer


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
