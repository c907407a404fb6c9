"""Members whose forward passes vLLM computes in this program (`backend: vllm`): how its engine is started."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gac_app.errors import ConfigError, ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models.backends import LoadRequest
from gac_app.models.hf.loading import check_files, described
from gac_app.models.remote.engine import ServerError
from gac_app.models.remote.model import RemoteTransformers
from gac_app.models.remote.vllm_engine import VllmEngine

_NUM_ASKED = 64  # likeliest tokens at first
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def load_vllm(request: LoadRequest) -> RemoteTransformers:
    """A directory or a Hub repository, by vLLM.

    Raises:
        ModelLoadError, ConfigError: vLLM is missing, or cannot load the files, or cannot be started from this script.
    """
    member, vllm = request.member, imported(request.member.name)
    _check_script(member.name)
    files = request.fetch()
    if files.kind != "directory":
        raise ConfigError(f"members: {member.name}: backend 'vllm' needs a directory of safetensors, not a file")
    check_files(member, files.path)
    model = RemoteTransformers(member.name, *described(member, files.path), **member.model_options)
    devices = (request.device,) if isinstance(request.device, str) else request.device
    arguments = {"model": str(files.path), "max_model_len": model.context_length, **arguments_of(member, devices)}
    environment = _QUIET | _cpu_variables(request.num_threads) if devices == ("cpu",) else _QUIET
    try:
        engine = VllmEngine(member.name, vllm, arguments, environment)
        try:
            model.use(engine, _NUM_ASKED)
        except BaseException:
            engine.close()
            raise
    except ServerError as error:
        raise ModelLoadError(f"{member.name}: {error}") from error
    model.engine = f"vLLM {vllm.version} {devices[0].partition(':')[0]}"
    return model


def _check_script(name: str) -> None:
    """Raises ConfigError in a script that cannot tell whether it is imported, as vLLM's process does anew."""
    script = str(getattr(sys.modules["__main__"], "__file__", ""))
    if script.endswith(".py") and "__name__" not in Path(script).read_text(errors="replace"):
        what = f'vLLM starts a process that imports {script}: put its code below `if __name__ == "__main__":`'
        raise ConfigError(f"members: {name}: {what}")


def imported(name: str) -> Any:
    """What is used of vLLM. Raises ModelLoadError."""
    try:
        import vllm
        from vllm import AsyncEngineArgs, SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        what = "backend 'vllm' needs vLLM, which is not installed or cannot be imported"
        raise ModelLoadError(f"{name}: {what} ({error}): see vLLM in docs/deploy.md") from error
    try:
        from vllm.engine.protocol import StreamingInput
    except ImportError:  # before 0.15
        StreamingInput = None
    return SimpleNamespace(
        AsyncLLM=AsyncLLM,
        AsyncEngineArgs=AsyncEngineArgs,
        SamplingParams=SamplingParams,
        StreamingInput=StreamingInput,
        DELTA=RequestOutputKind.DELTA,
        version=vllm.__version__,
    )


def arguments_of(member: MemberConfig, devices: tuple[str, ...]) -> dict[str, Any]:
    """What vLLM's engine is told of a member, beside its files.

    Raises:
        ConfigError: vLLM has no such quantisation.
    """
    if member.quantization == "8bit":
        raise ConfigError(f"members: {member.name}: vLLM has no 8bit of bitsandbytes; expected 4bit, or vllm: {{...}}")
    is_on_cpu = devices == ("cpu",)
    arguments: dict[str, Any] = {
        "dtype": "float32" if is_on_cpu and member.dtype == "auto" else member.dtype,
        "max_num_seqs": 2 * member.max_sequences,  # a step's second question is a request of its own
        "disable_log_stats": True,
        "generation_config": "vllm",  # not the files', which may name a temperature
        **member.vllm,
        "skip_tokenizer_init": True,
        "max_logprobs": -1,
        "logprobs_mode": "raw_logprobs",
        "trust_remote_code": member.allow_remote_code,
    }
    if member.quantization == "4bit":
        arguments["quantization"] = "bitsandbytes"
    if not is_on_cpu:
        arguments |= {"device_ids": [int(name.removeprefix("cuda:")) for name in devices]}
        arguments |= {"tensor_parallel_size": len(devices)} if len(devices) > 1 else {}
    return arguments


def _cpu_variables(num_threads: int) -> dict[str, str]:
    """As many threads as the member has, on whichever cores are free. They are the engine's own: a worker in a further
    process and the engine would spin while they wait for each other, and take cores from the other members.
    """
    bind, threads, is_apart = "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS", "VLLM_ENABLE_V1_MULTIPROCESSING"
    return {bind: "nobind", threads: str(num_threads), is_apart: "0"}
