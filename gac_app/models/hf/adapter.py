"""A LoRA adapter on a model of transformers, by PEFT."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
from itertools import chain
from pathlib import Path
from typing import Any

from gac_app.errors import ModelLoadError
from gac_app.member_config import MemberConfig, scheme_of

logger = logging.getLogger(__name__)

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")  # on the Hub; other names are paths of the trainer's machine
_FORMAT = re.compile(r"-(unsloth|bnb|[48]bit|gguf|awq|gptq|fp8|bf16)\b")  # the same weights in another form


def check_adapter(member: MemberConfig) -> None:
    """Raise ModelLoadError unless its directory holds a LoRA adapter whose weights are safetensors, and PEFT is there.
    Warn if it names another model of the Hub than the member's as the one that it was trained on.
    """
    directory = Path(member.adapter)
    where = f"{member.name}: adapter {directory}"
    if importlib.util.find_spec("peft") is None:
        raise ModelLoadError(f"{where} needs the package peft; install it: pip install 'gac-app[adapters]'")
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
    _warn_of_another_base(where, config.get("base_model_name_or_path"), member)


def _warn_of_another_base(where: str, trained_on: object, member: MemberConfig) -> None:
    """Weights of equal shapes fit, such as those of a model before and after it learnt to chat."""
    parts = chain(*member.mirrors)
    own = [re.split("[@#]", part.removeprefix("hub:"))[0] for part in parts if scheme_of(part) == "hub"]
    if not own or not isinstance(trained_on, str) or not _REPOSITORY.fullmatch(trained_on):
        return
    if _model_of(trained_on) not in map(_model_of, own):
        logger.warning(
            "%s was trained on %s, not on %s; its answers are as meant only if both are alike",
            where,
            trained_on,
            own[0],
        )


def _model_of(repository: str) -> str:
    """What copies have in common, whoever keeps them, and in whichever form."""
    return _FORMAT.sub("", repository.split("/")[-1].lower())


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
