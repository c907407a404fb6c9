"""From files to a `TransformersModel`: trust, precision and device."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path
from typing import Any

import torch

# Here, not on use: transformers resolves names lazily, which breaks if two threads do so at once.
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from gac_app.errors import ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.hf.adapter import check_adapter, with_adapter
from gac_app.models.hf.conversion import converted
from gac_app.models.hf.model import TransformersModel
from gac_app.models.sources import ModelFiles

# transformers patches its own classes while it loads (tied weights, initialisation): two loads at once leave one model
# with a random head.
_LOADING = threading.RLock()
# A GPU that this process does not have yet (ZeroGPU). The model is moved there after loading, in this thread:
# transformers would load straight to the device in its own threads, where the `spaces` package does not emulate the
# GPU.
LENT = "cuda"
_FOR_WEIGHTS = 0.9  # of the free memory of several GPUs; the rest is for caches and activations


def load(request: LoadRequest, files: ModelFiles) -> TransformersModel:
    """Load a member's model.

    Args:
        request: a member's dtype "auto" is float32 on a CPU and the files' own on a GPU.
        files: the result of `sources.resolve`.

    Raises:
        ModelLoadError: the files are damaged, untrusted or do not fit; names the member and the reason.
    """
    member, device = request.member, request.device
    trusted = {"trust_remote_code": member.allow_remote_code, "local_files_only": True}
    with _LOADING:
        directory = converted(files.path, request.cache_dir) if files.kind == "gguf" else files.path
        check_files(member, directory)
        if member.adapter:
            check_adapter(member)
        placed = {**_quantized(member), **_placed(member, device)}
        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, **trusted)
            model = AutoModelForCausalLM.from_pretrained(
                directory,
                dtype=_dtype(member, device),
                use_safetensors=None if member.allow_pickle else True,
                **placed,
                **trusted,
            )
            if member.adapter:
                model = with_adapter(model, Path(member.adapter))
        except torch.OutOfMemoryError as error:
            raise ModelLoadError(f"{member.name}: its weights do not fit the memory of {device}") from error
        except Exception as error:  # a damaged or unknown model can fail anywhere in several libraries
            with_it = f" with the adapter {member.adapter}" if member.adapter else ""
            raise ModelLoadError(f"{member.name}: {directory}{with_it} cannot be loaded: {error}") from error
        if "disk" in getattr(model, "hf_device_map", {}).values():
            raise ModelLoadError(f"{member.name}: its weights do not fit the memory of {device}")
        return adopted(member, model.to(LENT) if device == LENT else model, tokenizer, request.num_threads)


def described(member: MemberConfig, directory: Path) -> tuple[Any, Any]:
    """A model without weights, and its tokenizer, for a member that is computed elsewhere. Raises ModelLoadError."""
    _check_trust(member, directory)
    trusted = {"trust_remote_code": member.allow_remote_code, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, **trusted)
        with _LOADING:
            model = _without_weights(member, directory)
        if (directory / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(directory)
    except Exception as error:  # as in `load`
        raise ModelLoadError(f"{member.name}: {directory} cannot be loaded: {error}") from error
    return model, tokenizer


def _without_weights(member: MemberConfig, directory: Path) -> Any:
    """The model on the meta device."""
    config = AutoConfig.from_pretrained(directory, trust_remote_code=member.allow_remote_code, local_files_only=True)
    dtype = getattr(torch, member.dtype) if member.dtype != "auto" else config.dtype or torch.float32
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=member.allow_remote_code)


def adopted(member: MemberConfig, model: Any, tokenizer: Any, num_threads: int | None) -> TransformersModel:
    """A model that the caller has loaded. It is put in evaluation mode; of PEFT's models, the one with the adapters in
    its layers is used.

    Raises:
        ModelLoadError: it does not fit this engine.
    """
    if hasattr(model, "get_base_model"):  # PEFT's
        model = model.get_base_model()
    return TransformersModel(member.name, model.eval(), tokenizer, num_threads=num_threads, **member.model_options)


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
        if "auto_map" in _read(member, path):
            raise ModelLoadError(
                f"{member.name}: {path} wants to run the repository's own Python code ('auto_map'); that is refused "
                "unless the config says 'allow_remote_code: true' for this member"
            )


def _read(member: MemberConfig, path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no file. Raises ModelLoadError."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise ModelLoadError(f"{member.name}: {path} is not valid JSON: {error}") from error


def _check_safetensors(member: MemberConfig, directory: Path) -> None:
    """Open every weights file: this compares its header with its size, and names a damaged one."""
    from safetensors import SafetensorError, safe_open

    parts = _read(member, directory / "model.safetensors.index.json").get("weight_map", {})
    for name in sorted({path.name for path in directory.glob("*.safetensors")} | set(parts.values())):
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
    """from_pretrained's arguments: one device, or those among which accelerate divides the layers evenly."""
    if device == LENT:
        return {}
    if isinstance(device, str) and not member.max_memory:
        return {"device_map": {"": device}}
    from accelerate.utils import get_max_memory

    free = {f"cuda:{key}" if isinstance(key, int) else key: size for key, size in get_max_memory().items()}
    names = {device} if isinstance(device, str) else {*device}
    most = {name: int(free.get(name, 0) * _FOR_WEIGHTS) for name in names} | member.max_memory
    return {"device_map": "auto", "max_memory": {_key(name): size for name, size in most.items()}}


def _key(device: str) -> str | int:
    """accelerate's."""
    return int(device.removeprefix("cuda:")) if ":" in device else device


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
