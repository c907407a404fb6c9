"""GGUF files for transformers: de-quantised to float32 once, and kept in the cache as safetensors and tokenizer.json.

Converting takes tens of seconds (Gemma's tokenizer alone 17), loading the result a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

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
    file: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    try:
        with _lists_read_once():
            config = AutoConfig.from_pretrained(**file)
            tokenizer = AutoTokenizer.from_pretrained(**file)
            model = AutoModelForCausalLM.from_pretrained(**file, config=config, dtype=torch.float32)
    except Exception as error:  # a damaged file can fail anywhere in several libraries
        said = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise ModelLoadError(f"{gguf.name}: transformers cannot read this GGUF file: {said}") from error
    # With these two set, the model counts as quantised and refuses to be saved.
    model.hf_quantizer = None
    del model.config.quantization_config
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


@contextmanager
def _lists_read_once() -> Iterator[None]:
    """transformers reads all of a file anew for configuration, tokenizer and weights: of Gemma's vocabulary, half a
    minute each time.
    """
    import gguf  # not of the core's packages

    reader = gguf.GGUFReader
    gguf.GGUFReader = cache(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader
