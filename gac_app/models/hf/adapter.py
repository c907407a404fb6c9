"""A LoRA adapter on a model of transformers, by PEFT."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from gac_app.errors import ModelLoadError
from gac_app.member_config import MemberConfig

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def check_adapter(member: MemberConfig) -> None:
    """Raise ModelLoadError unless its directory holds a LoRA adapter with safetensors weights and PEFT is installed."""
    directory = Path(member.adapter)
    where = f"{member.name}: adapter {directory}"
    if importlib.util.find_spec("peft") is None:
        what = "install it: pip install '.[adapters]' in the project's folder"
        raise ModelLoadError(f"{where} needs the package peft; {what}")
    for file in (_CONFIG, _WEIGHTS):
        if not (directory / file).is_file():
            raise ModelLoadError(f"{where} has no {file}; expected what PEFT saves, with weights as safetensors")
    try:
        config = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{where}: {_CONFIG} is damaged ({error})") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise ModelLoadError(f"{where} is of the kind {kind!r}; expected LORA")
    if config.get("megatron_config"):  # PEFT would import whichever module the file names
        raise ModelLoadError(f"{where} is for Megatron, which is not supported")


def with_adapter(model: Any, directory: Path) -> Any:
    """The model with the adapter in its layers, not merged, so that it computes what PEFT computes.

    Raises:
        ValueError: its weights are not those of this model's layers, or some are no numbers.
    """
    from peft import PeftModel

    _check_finite(directory / _WEIGHTS)
    adapted = PeftModel.from_pretrained(model, directory)
    # Again, for what it says: PEFT gives a layer without weights random ones, and drops those that have no layer.
    found = adapted.load_adapter(str(directory), adapted.active_adapter)
    missing = [key for key in found.missing_keys if "lora_" in key]
    if missing or found.unexpected_keys:
        numbers = f"{len(missing)} weights are missing and {len(found.unexpected_keys)} have no place"
        raise ValueError(f"the adapter is of another model: {numbers}, such as {(*missing, *found.unexpected_keys)[0]}")
    return adapted.get_base_model()


def _check_finite(file: Path) -> None:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 (it cannot be iterated over)
            if not weights.get_tensor(name).float().isfinite().all():
                raise ValueError(f"{name} of the adapter has values that are no numbers")
