"""What all tests share."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import engine
from xdist.scheduler import LoadFileScheduling

from gac_app.environment import DEFAULT_CONFIG, cache_dir, read_config
from gac_app.models.sources import resolve
from tests.clocks import steady_clock as steady_clock
from tests.flaky import pytest_terminal_summary as pytest_terminal_summary

gc.disable()  # while modules are imported and tests collected: nothing of that goes away

# Of each law, others for each commit (scripts/test); --fast draws fewer, --hypothesis-profile=thorough more. No
# deadline: a busy machine is no failure. What fails is made smaller for a few seconds, not for five minutes.
engine.MAX_SHRINKING_SECONDS = 20
settings.register_profile("brief", max_examples=6, deadline=None)
settings.register_profile("quick", max_examples=12, deadline=None)
settings.register_profile("fuzz", max_examples=50, deadline=None, print_blob=True)  # a round of scripts/fuzz
settings.register_profile("thorough", max_examples=150, deadline=None)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def real_files() -> dict[str, Path]:
    """Member name -> file of the small configurations, from the cache, which is filled where it lacks them."""
    configs = [read_config(path, os.environ) for path in (DEFAULT_CONFIG, DEFAULT_CONFIG.with_name("cpu-small.yaml"))]
    placed = ((member, cache_dir(config)) for config in configs for member in config.members)
    return {member.name: resolve(member, folder, lambda _: None).path for member, folder in placed}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Where tests that are coroutines run."""
    return "asyncio"


TESTS = Path(__file__).parent
_PLACES = {"real": 0, "server": 1, "browser": 3}  # others are at 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real models first, in a process that nothing has touched; then the files that take longest; browser tests last:
    Playwright keeps an event loop running in this thread until the session ends."""
    items.sort(key=lambda item: _PLACES.get(item.path.relative_to(TESTS).parts[0], 2))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.set_threshold(10_000)  # of 700, a twentieth of all time would go into collecting
    gc.enable()


class ByFile(LoadFileScheduling):
    """Tests of one file stay in one process, as do all of `tests/real`: their models take several GB."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "tests/real" if file.startswith("tests/real/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    config.option.loadscopereorder = False  # else the files with the most tests go first
    return ByFile(config, log)
