"""Honest visitors beside others of the same host: how long their first token takes, and beside whom."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import GacError
from gac_app.executors.members import in_background
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.storage import Store
from tests.fakes import WAIT_S

PROMPT = "Name three colours of the rainbow, please."
LONG_CHARS = 20_000
NUM_HOSTILE = 12


class Neighbourhood:
    """Services over one ensemble, each used by several at once.

    Args:
        folder: of the services' databases.
        num_long: tokens of the runs beside which is measured.
        warm_s: how long these run before it is measured.
    """

    def __init__(self, folder: Path, ensemble: Ensemble, *, num_long: int, warm_s: float) -> None:
        self._folder, self._ensemble = folder, ensemble
        self._num_long, self._warm_s = num_long, warm_s
        self._num_measured = 0

    def first_token_s(self) -> float:
        """Seconds from an honest visitor's prompt to the ensemble's first token; the run then ends."""
        begun_at = time.monotonic()
        text = f"{self._num_measured}: {PROMPT}"
        run = self._service.start("a" * 64, text, {"max_new_tokens": 4}, client="home")
        with self._service.following(run):
            has_begun = run.wait_for(lambda: run.streams["ensemble"].events, 10 * WAIT_S)
            assert has_begun, "no token came"
            assert run.streams["ensemble"].steps, run.streams["ensemble"].finished
            seconds = time.monotonic() - begun_at
            run.over.wait(10 * WAIT_S)
        return seconds

    def beside(self, who: str) -> float:
        """The first token of the first honest visitor of a new service, where somebody else is already."""
        self._num_measured += 1
        store = Store(f"sqlite:///{self._folder / str(self._num_measured)}")
        self._service = RunService(self._ensemble.config, store)
        self._service.members.use(self._ensemble)
        with SITUATIONS[who](self):
            return self.first_token_s()

    # --- who else is there

    @contextmanager
    def browsers(self, client: str, number: int, prompt: str) -> Iterator[None]:
        """So many browsers of one address that listen to one run after another."""
        left = threading.Event()
        running: list[LiveRun] = []

        def browse(browser: int) -> None:
            key, count = f"{client}{browser}".encode().hex().zfill(64), 0
            while not left.is_set():
                count += 1
                text, changes = f"{self._num_measured}, {count}: {prompt}", {"max_new_tokens": self._num_long}
                try:
                    run = self._service.start(key, text, changes, client=client)
                except GacError:  # the queue is full
                    left.wait(0.2)
                    continue
                running.append(run)
                with self._service.following(run):
                    while not left.is_set() and not run.over.wait(0.05):
                        pass
                self._service.stop(key, run.id)

        with working(browse, number, left):
            until = time.monotonic() + WAIT_S
            while not any(run.status == "running" for run in running):
                assert time.monotonic() < until, "nobody came"
                time.sleep(0.01)
            time.sleep(self._warm_s)
            yield

    @contextmanager
    def study(self) -> Iterator[None]:
        """Reads questions and answers some, as a study does."""
        left = threading.Event()
        ensemble, stop = in_background(self._ensemble)
        settings = ensemble.config.settings.model_copy(update={"max_new_tokens": 16})

        def ask(_: int) -> None:
            count = 0
            while not left.is_set():
                count += 1
                question = f"Question {count}: " + "how many apples has a farmer who gives two away? " * 8
                with suppress(GacError):  # it is over
                    list(ensemble.generate(question, settings, raw=True))
                    ensemble.score(question, [" Two", " None of them, I think"], settings, raw=True)

        with working(ask, 1, left):
            time.sleep(self._warm_s)
            yield
            left.set()
            stop()


@contextmanager
def working(work: Callable[[int], None], number: int, left: threading.Event) -> Iterator[None]:
    """Threads that work until the block ends."""
    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        left.set()
        for thread in threads:
            thread.join(10 * WAIT_S)


def _long_prompt() -> str:
    return ("The lighthouse keeper wrote about the weather every day, whoever asked. " * 300)[:LONG_CHARS]


SITUATIONS: Mapping[str, Callable[[Neighbourhood], AbstractContextManager[object]]] = {
    "alone": lambda _: ExitStack(),
    "one neighbour": lambda town: town.browsers("next door", 1, PROMPT),
    "one address, 12 browsers": lambda town: town.browsers("mill", NUM_HOSTILE, PROMPT),
    "a study": lambda town: town.study(),
    "a prompt of 20,000 characters": lambda town: town.browsers("library", 1, _long_prompt()),
}


def measured(town: Neighbourhood, num_times: int) -> dict[str, float]:
    """The mean first token beside each, over the one alone; printed."""
    town.beside("alone")
    seconds = {who: [town.beside(who) for _ in range(num_times)] for who in SITUATIONS}
    alone_s = statistics.mean(seconds["alone"])
    ratios = {who: statistics.mean(found) / alone_s for who, found in seconds.items()}
    print(f"\nfirst token of an honest short run; alone: {alone_s:.2f} s")
    for who, ratio in ratios.items():
        print(f"  beside {who}: {ratio:.2f} times (slowest {max(seconds[who]) / alone_s:.2f})")
    return ratios
