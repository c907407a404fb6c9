"""Who sits where, without any GPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gac_app.config_file import load_config
from gac_app.errors import ConfigError
from gac_app.member_config import MemberConfig
from gac_app.models.hardware import Plan, available_cores, detect_devices, main_memory_bytes, parse_devices, plan
from gac_app.models.hardware.devices import GIB, Devices, Gpu

CONFIGS = sorted(Path(__file__).parents[2].glob("configs/*.yaml"))


def member(name: str, num_params: float | None = 1e9, **config: object) -> MemberConfig:
    return MemberConfig.model_validate({"name": name, "source": "hub:a/b", "num_params": num_params, **config})


def machine(*gpu_gib: int, num_cores: int = 8, memory_gib: int = 64) -> Devices:
    gpus = tuple(Gpu(f"cuda:{index}", size * GIB) for index, size in enumerate(gpu_gib))
    return Devices(gpus, num_cores, memory_gib * GIB)


def devices_of(planned: Plan) -> list[str | tuple[str, ...]]:
    return [placement.device for placement in planned.placements.values()]


EIGHT_GB = {"num_params": 8e9, "dtype": "bfloat16"}  # 17.6 GiB
LARGE = {"num_params": 70e9, "dtype": "bfloat16"}
PAIR = ("cuda:1", "cuda:2")


@pytest.mark.parametrize(
    ("configs", "gpus", "devices"),
    [
        ([LARGE, {}], (80, 80, 24), [("cuda:0", "cuda:1"), "cuda:2"]),
        ([EIGHT_GB], (12, 16, 8), [("cuda:0", "cuda:1")]),  # as few as have room together
        ([EIGHT_GB, {}, EIGHT_GB], (24, 24, 24), ["cuda:0", "cuda:2", "cuda:1"]),  # the largest first
        ([EIGHT_GB, {}, EIGHT_GB], (24, 24), ["cuda:0", "cuda:0", "cuda:1"]),  # a full one is passed over
        ([EIGHT_GB, {}, EIGHT_GB], (8, 24, 48), ["cuda:2", "cuda:0", "cuda:1"]),
        ([LARGE, LARGE], (80,) * 8, [("cuda:0", "cuda:1"), ("cuda:2", "cuda:3")]),
        ([{}, {"device": "cuda:0"}, {"device": PAIR}, {"device": "cpu"}], (80,) * 3, ["cuda:1", "cuda:0", PAIR, "cpu"]),
        ([{"max_memory": {"cuda:1": "70GiB", "cpu": "100GiB"}}], (80, 80), ["cuda:1"]),
        ([EIGHT_GB, {"max_memory": {"cuda:0": "9GiB"}}], (24, 24), ["cuda:1", "cuda:0"]),  # those with own ones first
        ([{"backend": "llama_cpp"}, {"source": "random:1"}], (80,), ["cpu", "cpu"]),
        ([{"num_params": None}] * 2, (80, 80), ["cuda:0", "cuda:1"]),
    ],
)
def test_members_are_where_there_is_room_or_the_config_says(
    configs: list[dict[str, Any]], gpus: tuple[int, ...], devices: list[str | tuple[str, ...]]
) -> None:
    planned = plan([member(str(number), **config) for number, config in enumerate(configs)], machine(*gpus))
    assert devices_of(planned) == devices
    assert planned.warnings == ()
    assert ("?" in str(planned)) is (configs[0].get("num_params", 1) is None)
    cores = {device: place.num_threads for device, place in zip(devices, planned.placements.values(), strict=True)}
    assert cores.get("cpu", 8) == (8 if devices.count("cpu") < 2 else 4), "only those on the CPU share its cores"


@pytest.mark.parametrize(
    ("gpus", "device", "needed"), [((24, 24), ("cuda:0", "cuda:1"), "76.5"), ((153,), "cuda:0", "153.1")]
)
def test_what_does_not_fit_is_warned_of(gpus: tuple[int, ...], device: str | tuple[str, ...], needed: str) -> None:
    planned = plan([member("a", **LARGE), member("b")], machine(*gpus))
    assert devices_of(planned) == [device, device]
    assert planned.warnings == tuple(
        f"a, b: about {needed} GiB needed on cuda:{index}, which has {size}.0 GiB free"
        for index, size in enumerate(gpus)
    )


def test_a_gpu_that_is_not_there_is_warned_of() -> None:
    planned = plan([member("a", device="cuda:3")], machine(80))
    assert planned.warnings == ("a: there is no cuda:3; there are 1 GPUs",)
    assert plan([member("a", device="mps")], machine()).warnings == ()
    for bad in ({"device": "cuda"}, {"device": ""}, {"device": ["auto"]}, {"device": []}, {"max_memory": {"cuda": 1}}):
        with pytest.raises(ValidationError, match="expected cpu, or GPUs by number"):
            member("a", **bad)


def test_a_limit_of_memory_names_devices() -> None:
    overflowing = member("a", **LARGE, max_memory={"cuda:0": "9GiB", "cpu": "200GiB"})
    planned = plan([overflowing], machine(24, 24))
    assert (devices_of(planned), planned.warnings) == (["cuda:0"], ())
    with pytest.raises(ValidationError, match="max_memory"):
        member("a", max_memory={"cuda:0": "much"})
    for both in ({"max_memory": {"cuda:0": "9GiB", "cpu": "30GiB"}}, {"device": ["cuda:0", "cpu"]}):
        with pytest.raises(ValidationError, match="expected GPUs or the CPU for vLLM or quantised layers"):
            member("a", quantization="4bit", **both)


def test_files_tell_the_size_where_no_number_of_parameters_does() -> None:
    members = [member(name, None) for name in "abc"]
    sizes = {"a": 5 * GIB, "b": 20 * GIB}
    planned = plan(members, machine(24, 24), sizes)
    assert devices_of(planned) == ["cuda:1", "cuda:0", "cuda:1"], "the largest first"
    assert planned.placements["b"].size_bytes == pytest.approx(23.5 * GIB, abs=2)
    assert planned.placements["c"].size_bytes is None
    told = plan([member("a", **EIGHT_GB)], machine(24), sizes)
    assert told.placements["a"].size_bytes == pytest.approx(8e9 * 2 * 1.15 + GIB / 2)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.models.hardware.placement.find_spec", lambda name: None)
    found = plan([member("a", quantization="4bit"), member("b")], machine(80)).warnings
    assert found == ("a: quantization 4bit needs the package bitsandbytes, which is not installed here",)


@pytest.mark.parametrize(
    ("num_cores", "num_params", "threads"),
    [
        (8, (None, None), [4, 4]),
        (8, (None, None, None), [3, 3, 2]),
        (2, (None,) * 4, [1, 1, 1, 1]),
        (4, (None,), [4]),
        (2, (494e6, 135e6), [1, 1]),
        (4, (494e6, 135e6), [3, 1]),
        (8, (494e6, 135e6), [6, 2]),
        (8, (494e6, None), [4, 4]),
    ],
)
def test_cores_are_shared_by_cost(num_cores: int, num_params: tuple[float | None, ...], threads: list[int]) -> None:
    members = [member(str(index), num_params=num) for index, num in enumerate(num_params)]
    placements = plan(members, machine(num_cores=num_cores)).placements.values()
    assert [(placement.device, placement.num_threads) for placement in placements] == [("cpu", num) for num in threads]


def test_more_threads_than_cores_are_warned_of() -> None:
    planned = plan([member("a", num_threads=6), member("b", num_threads=6)], machine(num_cores=8))
    assert [placement.num_threads for placement in planned.placements.values()] == [6, 6]
    assert "12 CPU threads on 8 cores" in planned.warnings[0]


def test_too_little_main_memory_is_warned_of() -> None:
    planned = plan([member("a", 8e9), member("b", 8e9)], machine(memory_gib=32))
    assert planned.warnings == ("a, b: about 69.5 GiB needed in main memory, which has 32.0 GiB",)


@pytest.mark.parametrize("source", ["a.gguf", "hub:a/b#c.gguf", ["hub:a/b", "a.gguf"], [["pypi:a==1#1.bin", "2.bin"]]])
def test_quantised_files_need_less_of_a_cpu_than_repositories(source: object) -> None:
    sizes = [plan([member("a", source=one)], machine()).placements["a"].size_bytes or 0 for one in (source, "hub:a/b")]
    assert 0 < sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("gpus", "cores", "devices_disjoint"), [((), 2, True), ((), 1, False), ((80, 80), 1, True), ((80,), 8, False)]
)
def test_members_on_own_devices_or_cores_are_apart(gpus: tuple[int, ...], cores: int, devices_disjoint: bool) -> None:
    devices = machine(*gpus, num_cores=cores)
    assert plan([member("a", 1e9), member("b", 1e9)], devices).devices_disjoint == devices_disjoint


@given(
    gib=st.lists(st.integers(1, 80), min_size=1, max_size=6),
    params=st.lists(st.none() | st.floats(1e6, 4e11), min_size=1, max_size=6),
)
def test_every_member_is_on_gpus_that_hold_it_or_are_warned_of(gib: list[int], params: list[float | None]) -> None:
    devices, in_all = machine(*gib), Counter[str]()
    planned = plan([member(str(index), num) for index, num in enumerate(params)], devices)
    free = {gpu.name: gpu.memory_bytes for gpu in devices.gpus}
    for place in planned.placements.values():
        assert place.devices == tuple(gpu for gpu in free if gpu in place.devices), "each once, in their order"
        assert place.devices
        for gpu in place.devices:
            in_all[gpu] += (place.size_bytes or 0) // len(place.devices)
    full = [gpu for gpu in free if in_all[gpu] > free[gpu]]
    assert [warning.split("needed on ")[1].split(",")[0] for warning in planned.warnings] == full


@pytest.mark.parametrize(
    ("text", "gib"), [("8x80GiB", [80] * 8), ("2x24GiB,1x80GiB", [24, 24, 80]), ("40GiB", [40]), ("1x0.5gib", [0.5])]
)
def test_assumed_devices(text: str, gib: list[float]) -> None:
    devices = parse_devices(text)
    assert [gpu.memory_bytes / GIB for gpu in devices.gpus] == gib
    assert [gpu.name for gpu in devices.gpus] == [f"cuda:{index}" for index in range(len(gib))]


@pytest.mark.parametrize("text", ["", "8", "x80GiB", "8x80", "8x80GiB,", "-1x80GiB", "0x80GiB", "1x0GiB", "999x80GiB"])
def test_unreadable_devices_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="devices: "):
        parse_devices(text)


def test_a_containers_quota_limits_the_cores(tmp_path: Path) -> None:
    without_quota, older = available_cores(tmp_path / "nothing"), tmp_path / "cpu"
    older.mkdir()
    (older / "cpu.cfs_period_us").write_text("100000")
    for quota, limit in (("100000", 1), ("-1", without_quota)):
        (older / "cpu.cfs_quota_us").write_text(quota)
        assert available_cores(tmp_path) == limit
    for text, limit in (("max 100000", without_quota), ("150000 100000", 1), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert available_cores(tmp_path) == limit


@pytest.mark.parametrize(("is_lent", "expected"), [(False, [5, 6]), (True, [80, 80])])
def test_a_gpu_has_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch, is_lent: bool, expected: list[int]) -> None:
    def free(index: int) -> tuple[int, int]:
        if is_lent:
            raise RuntimeError("no CUDA yet")
        return 5 + index, 80

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=80))
    assert detect_devices().gpus == (Gpu("cuda:0", expected[0]), Gpu("cuda:1", expected[1]))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_preset_is_valid_and_fits_eight_large_gpus(path: Path) -> None:
    config = load_config(path)
    planned = plan(config.members, parse_devices("8x80GiB"))
    assert planned.warnings == ()
    assert all(bool(planned.placements[member.name].size_bytes) is not bool(member.of) for member in config.members)
    assert all(name in str(planned) for name in config.member_names)


@pytest.mark.parametrize(("name", "devices"), [("gpu-pair-8b", "2x24GiB"), ("gpu-pair-32b", "2x80GiB")])
def test_a_pair_for_gpus_takes_one_each(name: str, devices: str) -> None:
    config = load_config(next(path for path in CONFIGS if path.stem == name))
    planned = plan(config.members, parse_devices(devices))
    assert devices_of(planned) == ["cuda:0", "cuda:1"]
    assert planned.warnings == ()
    assert planned.devices_disjoint


@pytest.mark.skipif(main_memory_bytes() is None, reason="this system does not tell its memory")
@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_containers_limit_is_its_memory(name: str, tmp_path: Path) -> None:
    unlimited = main_memory_bytes(tmp_path)
    assert unlimited is not None
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for limit, expected in ((str(GIB // 8), GIB // 8), ("max", unlimited), (str(2**63 - 4096), unlimited)):
        (tmp_path / name).write_text(f"{limit}\n")
        assert main_memory_bytes(tmp_path) == expected
