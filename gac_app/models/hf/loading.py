"""From files to a `TransformersModel`: trust, precision and device."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# Here, not on use: transformers resolves names lazily, which breaks if two threads do so at once.
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from gac_app.errors import ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models.hf.adapter import check_adapter, with_adapter
from gac_app.models.hf.conversion import converted
from gac_app.models.hf.model import TransformersModel
from gac_app.models.sources import ModelFiles

# transformers patches its own classes while it loads (tied weights, initialisation): two loads at once leave one model
# with a random head.
_LOADING = threading.Lock()
# A GPU that this process does not have yet (ZeroGPU). The model is moved there after loading, in this thread:
# transformers would load straight to the device in its own threads, where the `spaces` package does not emulate the
# GPU.
LENT = "cuda"


def load(
    member: MemberConfig, files: ModelFiles, cache_dir: Path, device: str | tuple[str, ...], num_threads: int | None
) -> TransformersModel:
    """Load a member's model.

    Args:
        member: its configuration; dtype "auto" is float32 on a CPU and the files' own on a GPU.
        files: the result of `sources.resolve`.
        cache_dir: where a converted GGUF file is kept.
        device: "cpu", "cuda:0", or several that accelerate spreads the layers over.
        num_threads: CPU threads of one forward pass; None = torch's own choice.

    Raises:
        ModelLoadError: the files are damaged, untrusted or do not fit; names the member and the reason.
    """
    with _LOADING:
        return _load(member, files, cache_dir, device, num_threads)


def _load(
    member: MemberConfig, files: ModelFiles, cache_dir: Path, device: str | tuple[str, ...], num_threads: int | None
) -> TransformersModel:
    directory = converted(files.path, cache_dir) if files.kind == "gguf" else files.path
    check_files(member, directory)
    if member.adapter:
        check_adapter(member.name, Path(member.adapter))
    trusted = {"trust_remote_code": member.allow_remote_code, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, **trusted)
        model = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=_dtype(member, device),
            use_safetensors=None if member.allow_pickle else True,
            **_placed(member, device),
            **_quantized(member),
            **trusted,
        )
        if member.adapter:
            model = with_adapter(model, Path(member.adapter))
    except torch.OutOfMemoryError as error:
        raise ModelLoadError(f"{member.name}: its weights do not fit the memory of {device}") from error
    except Exception as error:  # a damaged or unknown model can fail anywhere in several libraries
        with_it = f" with the adapter {member.adapter}" if member.adapter else ""
        raise ModelLoadError(f"{member.name}: {directory}{with_it} cannot be loaded: {error}") from error
    return _made(member, model.to(LENT) if device == LENT else model, tokenizer, num_threads)


def described(member: MemberConfig, directory: Path) -> tuple[Any, Any]:
    """A model without weights, and its tokenizer, for a member that is computed elsewhere. Raises ModelLoadError."""
    _check_trust(member, directory)
    trusted = {"trust_remote_code": member.allow_remote_code, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, **trusted)
        config = AutoConfig.from_pretrained(directory, **trusted)
        with _LOADING, torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=member.allow_remote_code)
        if (directory / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(directory)
    except Exception as error:  # as in `_load`
        raise ModelLoadError(f"{member.name}: {directory} cannot be loaded: {error}") from error
    return model, tokenizer


def adopted(member: MemberConfig, model: Any, tokenizer: Any, num_threads: int | None) -> TransformersModel:
    """A model that the caller has loaded. It is put in evaluation mode; of PEFT's models, the one with the adapters in
    its layers is used.

    Raises:
        ModelLoadError: it does not fit this engine.
    """
    if hasattr(model, "get_base_model"):  # PEFT's
        model = model.get_base_model()
    return _made(member, model, tokenizer, num_threads)


def _made(member: MemberConfig, model: Any, tokenizer: Any, num_threads: int | None) -> TransformersModel:
    return TransformersModel(
        member.name,
        model.eval(),
        tokenizer,
        num_threads=num_threads,
        **member.model_options,
    )


def check_files(member: MemberConfig, directory: Path) -> None:
    """Raise ModelLoadError if a model's files are damaged, or have code that the configuration does not allow."""
    _check_trust(member, directory)
    _check_safetensors(member, directory)


def _check_trust(member: MemberConfig, directory: Path) -> None:
    """Refuse a repository with its own code, before a library reads anything that could run it."""
    if member.allow_remote_code:
        return
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        path = directory / name
        try:
            has_code = path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelLoadError(f"{member.name}: {path} is not valid JSON: {error}") from error
        if has_code:
            raise ModelLoadError(
                f"{member.name}: {path} wants to run the repository's own Python code ('auto_map'); that is refused "
                "unless the config says 'allow_remote_code: true' for this member"
            )


def _check_safetensors(member: MemberConfig, directory: Path) -> None:
    """Open every weights file: this compares its header with its size, and names a damaged one."""
    from safetensors import SafetensorError, safe_open

    index = directory / "model.safetensors.index.json"
    names = {path.name for path in directory.glob("*.safetensors")}
    if index.is_file():
        names |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(names):
        path = directory / name
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelLoadError(f"{member.name}: {path} is damaged or incomplete: {error}") from error


def _dtype(member: MemberConfig, device: str | tuple[str, ...]) -> Any:
    if member.dtype != "auto":
        return getattr(torch, member.dtype)
    # Half precision is slow on many CPUs, and its chunks differ from single steps.
    return torch.float32 if device == "cpu" else "auto"


def _placed(member: MemberConfig, device: str | tuple[str, ...]) -> dict[str, Any]:
    """from_pretrained's arguments for one device, or for accelerate to spread the layers over several."""
    if device == LENT:
        return {}
    if isinstance(device, str) and not member.max_memory:
        return {"device_map": {"": device}}
    devices = (device,) if isinstance(device, str) else device
    return {"device_map": "auto", "max_memory": _accelerate_memory(member.max_memory, devices)}


def _accelerate_memory(max_memory: Mapping[str, str], devices: tuple[str, ...]) -> dict[int | str, int | str]:
    """accelerate uses any GPU that is not listed, so all except `devices` are listed with no memory."""
    from accelerate.utils import get_max_memory

    wanted = {_accelerate_key(name): amount for name, amount in max_memory.items()}
    allowed = {_accelerate_key(name) for name in devices} | set(wanted)
    free: dict[int | str, int | str] = get_max_memory()
    return {key: wanted.get(key) or free[key] if key in allowed else 0 for key in {**free, **wanted}}


def _accelerate_key(device: str) -> int | str:
    return int(device.removeprefix("cuda:")) if device.startswith("cuda:") else device


def _quantized(member: MemberConfig) -> dict[str, Any]:
    if member.quantization == "none":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelLoadError(
            f"{member.name}: quantization {member.quantization} needs the package bitsandbytes, which is not installed"
        )
    from transformers import BitsAndBytesConfig

    if member.quantization == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    compute = torch.bfloat16 if member.dtype == "auto" else getattr(torch, member.dtype)
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=compute)}
