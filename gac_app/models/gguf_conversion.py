"""GGUF files for transformers: de-quantised to float32 once, and kept in the cache as safetensors and tokenizer.json.

Converting takes tens of seconds (Gemma's tokenizer alone 17), loading the result a few.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer

from gac_app.errors import ModelLoadError

_FORMAT = 1  # of what is kept; a new number converts anew


def converted(gguf: Path, cache_dir: Path) -> Path:
    """The directory with the file's model in the layout of the Hub.

    Raises:
        ModelLoadError: where transformers cannot read the file.
    """
    status = gguf.stat()
    key = f"{_FORMAT}\n{gguf.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    target = cache_dir / "converted" / f"{gguf.stem}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(target.name + ".lock")):
        if not target.is_dir():  # another process may have converted it while this one waited
            _convert(gguf, target)
    return target


def _convert(gguf: Path, target: Path) -> None:
    work_dir = target.with_name(target.name + ".converting")
    shutil.rmtree(work_dir, ignore_errors=True)  # left by a process that was killed
    try:
        model, tokenizer = _read(gguf)
        tokenizer.save_pretrained(work_dir)
        model.save_pretrained(work_dir)
        work_dir.replace(target)
    except OSError as error:
        raise ModelLoadError(f"{gguf.name}: the converted model cannot be kept: {error}") from error
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _read(gguf: Path) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    except Exception as error:  # a damaged file fails anywhere in the readers of several libraries
        raise ModelLoadError(f"{gguf.name}: transformers cannot read this GGUF file: {_first_line(error)}") from error
    # Without these two the model takes itself for a quantised one and refuses to be saved.
    model.hf_quantizer = None
    del model.config.quantization_config
    return model, tokenizer


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
