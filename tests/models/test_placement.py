"""Who sits where, without any GPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ByteSize, TypeAdapter, ValidationError

from gac_app.config_file import load_config
from gac_app.errors import ConfigError
from gac_app.member_config import MemberConfig
from gac_app.models.hardware import Need, Plan, available_cores, detect_devices, main_memory_bytes, parse_devices, plan
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
        ([EIGHT_GB, {}, EIGHT_GB], (24, 24, 24), ["cuda:0", "cuda:2", "cuda:1"]),  # the largest first
        ([EIGHT_GB, {}, EIGHT_GB], (24, 24), ["cuda:0", "cuda:0", "cuda:1"]),  # a full one is passed over
        ([EIGHT_GB, {}, EIGHT_GB], (8, 24, 48), ["cuda:2", "cuda:0", "cuda:1"]),
        ([LARGE, LARGE], (80,) * 8, [("cuda:0", "cuda:1"), ("cuda:2", "cuda:3")]),
        ([{}, {"device": "cuda:0"}, {"device": PAIR}, {"device": "cpu"}], (80,) * 3, ["cuda:2", "cuda:0", PAIR, "cpu"]),
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
    assert (planned.refusals, planned.warnings) == ([], ())
    assert ("?" in str(planned)) is (configs[0].get("num_params", 1) is None)
    cores = {device: place.num_threads for device, place in zip(devices, planned.placements.values(), strict=True)}
    assert cores.get("cpu", 8) == (8 if devices.count("cpu") < 2 else 4), "only those on the CPU share its cores"


def test_what_does_not_fit_is_refused_with_figures() -> None:
    planned = plan([member("a", 70e9, dtype="bfloat16"), member("b")], machine(24, 24))
    assert planned.refusals == [
        "a: needs at least 133.3 GiB (weights 130.4, cache 2.4 for one of 8 sequences, workspace 0.5), and cuda:0 has "
        "24.0 GiB, cuda:1 has 24.0 GiB free; use quantization: 4bit (40.3 GiB), a smaller context_length, or more GPUs"
    ]
    assert planned.placements["b"].refusal == ""
    assert planned.placements["a"].taken == {}


def test_members_get_less_for_caches_where_not_all_fit() -> None:
    members = [member(name, 7.3e9, dtype="bfloat16", max_sequences=10) for name in "ab"]  # 13.6 GiB, and 2 for caches
    assert plan(members, machine(40)).warnings == ()
    planned = plan(members, machine(29))
    assert planned.refusals == []
    assert planned.warnings == (
        "a: caches of 10 sequences need up to 2.0 GiB, and 0.6 GiB is left on cuda:0",
        "b: caches of 10 sequences need up to 2.0 GiB, and 0.6 GiB is left on cuda:0",
    )
    apart = [one.model_copy(update={"device": f"cuda:{number}"}) for number, one in enumerate(members)]
    assert [told[:2] for told in plan(apart, machine(15, 40)).warnings] == ["a:"]


def test_a_gpu_that_is_not_there_is_refused() -> None:
    assert plan([member("a", device="cuda:3")], machine(80)).refusals == ["a: cuda:3 not here; there are 1 GPUs"]
    assert "not assumed" in plan([member("a", device="cuda:9")], parse_devices("2x24GiB")).refusals[0]
    assert plan([member("a", device="mps")], machine()).refusals == []
    for bad in ({"device": "cuda"}, {"device": ""}, {"device": ["auto"]}, {"device": []}, {"max_memory": {"cuda": 1}}):
        with pytest.raises(ValidationError, match="expected cpu, or GPUs by number"):
            member("a", **bad)


def test_a_limit_of_memory_is_not_exceeded() -> None:
    assert plan([member("a", **EIGHT_GB, max_memory={"cuda:0": "18GiB"})], machine(80)).refusals == []
    refused = plan([member("a", **EIGHT_GB, max_memory={"cuda:0": "9GiB"})], machine(80)).refusals
    assert "cuda:0 has 9.0 GiB free" in refused[0]
    spread = plan([member("a", **EIGHT_GB, max_memory={"cuda:0": "9GiB", "cpu": "30GiB"})], machine(80))
    assert spread.refusals == []
    with pytest.raises(ValidationError, match="max_memory"):
        member("a", max_memory={"cuda:0": "much"})
    for both in ({"max_memory": {"cuda:0": "9GiB", "cpu": "30GiB"}}, {"device": ["cuda:0", "cpu"]}):
        with pytest.raises(ValidationError, match="expected GPUs or the CPU for vLLM or quantised layers"):
            member("a", quantization="4bit", **both)


def test_what_a_member_leaves_of_its_devices_is_the_others() -> None:
    need = Need(20 * GIB, spread=lambda _: ({"": "cuda:0"}, {"cuda:0": 20 * GIB}))  # placed first
    members = [member("a", device=("cuda:0", "cuda:1")), member("b", **EIGHT_GB, device="cuda:1")]
    a, b = plan(members, machine(24, 24), {"a": need}).placements.values()
    assert a.limits == {"cuda:0": 24 * GIB, "cuda:1": 24 * GIB - b.taken["cuda:1"]}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.models.hardware.placement.find_spec", lambda name: None)
    found = plan([member("a", quantization="4bit"), member("b")], machine(80)).warnings
    assert found == ("a: quantization 4bit needs the package bitsandbytes, which is not installed here",)


def by_vllm(name: str, share: float | None = None, **config: object) -> MemberConfig:
    return member(name, backend="vllm", vllm={"gpu_memory_utilization": share} if share else {}, **config)


def test_vllm_has_its_share_of_the_whole_gpu() -> None:
    one = Devices((Gpu("cuda:0", 70 * GIB, 80 * GIB),), 8, 64 * GIB)
    planned = plan([by_vllm("a", 0.45), by_vllm("b", 0.25), member("c")], one)
    assert planned.refusals == []
    assert str(planned).splitlines()[-1].split(maxsplit=3)[-1] == "a 36.0 GiB, b 20.0 GiB, c 2.6 GiB"
    assert plan([by_vllm("a", 0.45), by_vllm("b", 0.45)], one).refusals == [
        "b: vLLM takes 0.45 of each GPU, and cuda:0 has 34.0 GiB of 80.0 GiB free; "
        "use a smaller vllm: {gpu_memory_utilization: ...}"
    ]
    assert "a: vLLM takes 0.92 of" in plan([by_vllm("a"), member("b", device="cuda:0")], machine(10)).refusals[0]


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


SIZES = st.lists(st.integers(1, 80), max_size=6)
MEMBERS = st.lists(
    st.builds(
        lambda params, limit, sequences: {"num_params": params, "max_sequences": sequences, **limit},
        st.none() | st.floats(1e6, 4e11),
        st.sampled_from(
            [{}, {}, {"max_memory": {"cuda:0": "20GiB"}}, {"max_memory": {"cuda:0": "9GiB", "cpu": "99GiB"}}]
        ),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=6,
)


SPILL: list[dict[str, str]] = [{}, {"cpu": "99GiB"}]  # once the first is there, the GPU lacks room for a workspace


@given(sizes=SIZES, members=MEMBERS)
@example([24], [{"num_params": 8e9, "max_memory": {"cuda:0": "20GiB"}}] * 2)  # for two there is no room
@example([1], [{"num_params": 1e6, "max_sequences": 1, "max_memory": {"cuda:0": "9GiB", **more}} for more in SPILL])
def test_no_device_is_given_away_beyond_its_memory(sizes: list[int], members: list[dict[str, Any]]) -> None:
    devices, in_all = machine(*sizes), Counter[str]()
    known = {gpu.name for gpu in devices.gpus} | {"cpu"}
    planned = plan([member(str(index), **config) for index, config in enumerate(members)], devices)
    for configured, place in zip(members, planned.placements.values(), strict=True):
        names = (place.device,) if isinstance(place.device, str) else place.device
        assert names
        assert set(names) <= known or place.refusal
        assert len(set(names)) == len(names)
        assert place.num_threads >= 1
        assert place.taken.keys() <= place.limits.keys()
        for name, taken in place.taken.items():
            in_all[name] += taken
            assert 0 <= taken <= place.limits[name]
            assert taken <= TypeAdapter(ByteSize).validate_python(configured.get("max_memory", {}).get(name, "1TB"))
    assert all(in_all[gpu.name] <= gpu.memory_bytes for gpu in devices.gpus)


@pytest.mark.parametrize(
    ("text", "gib"), [("8x80GiB", [80] * 8), ("2x24GiB,1x80GiB", [24, 24, 80]), ("40GiB", [40]), ("1x0.5gib", [0.5])]
)
def test_assumed_devices(text: str, gib: list[float]) -> None:
    devices = parse_devices(text)
    assert [gpu.memory_bytes / GIB for gpu in devices.gpus] == gib
    assert [gpu.name for gpu in devices.gpus] == [f"cuda:{index}" for index in range(len(gib))]
    assert devices.is_assumed


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
    assert detect_devices().gpus == (Gpu("cuda:0", expected[0], 80), Gpu("cuda:1", expected[1], 80))


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
