"""A real host in a thread, and pages of the system's Chromium that record what must not happen."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright
from starlette.types import ASGIApp

from gac_app.decoding.ensemble import Ensemble
from gac_app.evaluation.studies.calibration import CalibrationStudy
from gac_app.executors.members import in_background
from gac_app.server.host import HostSecrets, create_host
from gac_app.services.battles.arena import ArenaService
from gac_app.services.lab.lab import Lab
from gac_app.services.lab.studies import carry_out
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store
from tests.clocks import battles_at_once as battles_at_once
from tests.databases import database_in
from tests.fakes import FakeModel, config_of, ensemble_of
from tests.server import site
from tests.ui.planted import MEMBERS, PlantedEnsemble, planted_arena, planted_service

ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CALLS = "**/component_server/"  # what the page asks of the server
WAIT_MS = 120_000  # for what must come: on a busy machine it is late
WINDOW = {"width": 1280, "height": 900}
HAS_SETTLED = """scheme => document.body.classList.contains('dark') === (scheme === 'dark')
  && !document.getAnimations().some((animation) => animation instanceof CSSTransition)"""


@dataclass
class Site:
    """A served page and the service behind it; the Lab, if it has one, and where an arena keeps its votes."""

    url: str
    service: RunService
    lab: Lab | None = None
    store: Store | None = None


@contextmanager
def served(
    service: RunService,
    lab: Lab | None = None,
    arena: ArenaService | None = None,
    *,
    place: str = "",
    sign_in_secret: str = "",
    proxied: Callable[[FastAPI], ASGIApp] = lambda host: host,
) -> Iterator[Site]:
    """Serve a service's page, at the same address as the last one: the browser has Gradio's scripts of it already.

    Args:
        place: what is served at the same time has an address of its own.
        sign_in_secret: as in `HostSecrets`.
        proxied: what is served in the place of the host, such as a proxy in front of it.
    """
    host = create_host(service, service.config, lab, arena, secrets=HostSecrets(sign_in=sign_in_secret))
    with site.served(proxied(host), service.config.server, listening(place)) as url:
        yield Site(f"{url}/", service, lab)


@contextmanager
def loading(service: RunService, name: str = "Large") -> Iterator[None]:
    """While members load, `name` among them."""
    ensemble, service.members._ensemble = service.members._ensemble, None
    service.members.set(name, "loading")
    try:
        yield
    finally:
        service.members.set(name, "ready")
        service.members._ensemble = ensemble


@contextmanager
def refused(page: Page, name: str) -> Iterator[None]:
    """The server refuses all calls of a function, and at least one by the end."""
    busy = {"error": "busy"}
    page.route(
        CALLS, lambda route: route.fulfill(json=busy) if name in str(route.request.post_data) else route.continue_()
    )
    with page.expect_response(lambda reply: name in str(reply.request.post_data)):
        yield
    page.unroute(CALLS)


@cache
def usual_port(place: str) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listening(place: str) -> socket.socket:
    """At the usual port, or at any other while something is served there."""
    try:
        return socket.create_server(("127.0.0.1", usual_port(place)))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


@dataclass
class Watched:
    """A page that keeps what a good page never causes."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listeners: dict[Any, Callable[[Any], None]] = {
            "console": self._on_console,
            "pageerror": lambda error: self.faults.append(f"script: {error}"),
            "dialog": lambda dialog: self.faults.append(f"dialog: {dialog.message}"),
            "request": self._on_request,
        }

    def listen(self) -> None:
        for event, listener in self._listeners.items():
            self.page.on(event, listener)

    def stop_listening(self) -> None:
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if request.is_navigation_request():  # before it Gradio's script closes its streams, and complains of that
            self.faults[:] = [one for one in self.faults if "AbortError" not in one and "errored out" not in one]
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.faults.append(f"remote: {request.url}")

    def ask(self, prompt: str, *, and_wait: bool = True) -> None:
        self.page.fill("#gac-prompt textarea", prompt)
        self.page.press("#gac-prompt textarea", "Enter")
        self.page.wait_for_selector(f".gac-asked h2:text-is('{prompt}')")
        if and_wait:
            self.wait_for_end()

    def choose(self, words: str) -> None:
        """Choose from the menu beside the prompt."""
        self.click(".gac-asked .gac-keep summary", f".gac-asked button:text-is('{words}')")

    def click(self, *selectors: str, then: str = "body", state: Any = "visible") -> None:
        click(self.page, *selectors, then=then, state=state)

    def press(self, key: str, *, then: str) -> None:
        press(self.page, key, then=then)

    def fill(self, selector: str, value: str, *, then: str, state: Any = "visible") -> None:
        self.page.fill(selector, value)
        self.page.wait_for_selector(then, state=state)

    def wait_for_end(self) -> None:
        self.page.wait_for_selector("body:not(.gac-is-live)")

    def place_of(self, token: int, stream: int = 0) -> tuple[float, float]:
        """The middle of a token's mark, in the window."""
        rect = self.page.evaluate(
            """([token, stream]) => { const { tokens } = document.querySelectorAll('.gac-text')[stream];
            tokens.flush(); const { left, top, width, height } = tokens.overlay.rectsOf(tokens.marks.byToken[token])[0];
            return { left, top, width, height }; }""", [token, stream],
        )  # fmt: skip
        return rect["left"] + rect["width"] / 2, rect["top"] + rect["height"] / 2

    def click_token(self, token: int, stream: int = 0, *, then: str = "body") -> None:
        """Click a token's mark where it stands, once it is in sight."""
        self.page.evaluate(
            """([token, stream]) => { const { tokens } = document.querySelectorAll('.gac-text')[stream];
            tokens.select(token); tokens.reveal(); tokens.select(null); }""", [token, stream],
        )  # fmt: skip
        self.page.mouse.click(*self.place_of(token, stream))
        self.page.wait_for_selector(then)

    def wait_for_tokens(self, count: int) -> None:
        """Until the ensemble has said so many."""
        self.page.wait_for_function(f"document.querySelector('.gac-ensemble .gac-text')?.tokens.count >= {count}")

    def painted(self, name: str) -> list[str]:
        """What the view paints as `name`, such as "gac-changed": stretches of text."""
        return self.page.evaluate(  # type: ignore[no-any-return]
            """name => [...CSS.highlights].filter(([key]) => key.startsWith(name)).flatMap(([, marks]) => [...marks])
            .map(({ startContainer, startOffset, endContainer, endOffset }) => {
              const range = document.createRange();
              range.setStart(startContainer, startOffset);
              range.setEnd(endContainer, endOffset);
              return String(range); })""", name,
        )  # fmt: skip

    def at_widths(self, *widths: int) -> Iterator[int]:
        """The page in windows so wide, one after the other: cheaper than a page for each."""
        for width in widths:
            self.page.set_viewport_size({"width": width, "height": 900})
            yield width

    def in_both_schemes(self) -> Iterator[str]:
        """The page as it is where the system is dark, then as it is where that is light. From now on nothing moves."""
        for scheme in ("dark", "light"):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            self.page.wait_for_function(HAS_SETTLED, arg=scheme)
            yield scheme

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def open_settings(self) -> None:
        self.click(".gac-summary", ".gac-settings summary:has-text('Research')")

    def confirm_deletion(self) -> None:
        """Say yes to the dialog of History, and wait until it is done."""
        self.click(".gac-dialog button[value=delete]", then=".gac-history-note:text-is('Deleted.')")

    def leave_fields(self) -> None:
        """Put the focus where keys are not typed."""
        self.page.evaluate("document.activeElement.blur()")


def click(page: Page, *selectors: str, then: str = "body", state: Any = "visible") -> None:
    """Click one after the other, and wait for what is there then, or in another `state`."""
    for selector in selectors:
        page.click(selector)
    page.wait_for_selector(then, state=state)


def press(page: Page, key: str, *, then: str, state: Any = "visible") -> None:
    page.keyboard.press(key)
    page.wait_for_selector(then, state=state)


WITHIN = {"Battle": "Arena", "Leaderboard": "Arena", "Batch": "Experiments", "Lab": "Experiments"}


def to_tab(page: Page, name: str, *, then: str = "body", state: Any = "visible") -> None:
    """Choose a tab, and before it the one that it is within; and wait for what is there then."""
    for tab in filter(None, (WITHIN.get(name), name)):
        page.click(f"button[role=tab]:visible:text-is('{tab}')")
    page.wait_for_selector(then, state=state)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("GAC_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium or Chrome; scripts/test installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


class Visitors:
    """The first visitor of every test, the second, and so on. Their pages are kept from test to test, since a new one
    costs a second of processor; what they know of a site is forgotten."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._pages: list[Page] = []

    def page(self, number: int) -> Page:
        """A blank page of the visitor of this number, from 0."""
        while number >= len(self._pages):
            self._pages.append(self._browser.new_context().new_page())
        if self._pages[number].is_closed():
            self._pages[number] = self._pages[number].context.new_page()
        return self._pages[number]

    def leave(self, page: Page) -> None:
        """Blank the page again; one that is nobody's is closed with all that belongs to it."""
        if page not in self._pages:
            page.context.close()
            return
        for other in page.context.pages:
            if other is not page:
                other.close()
        if not page.is_closed():
            page.unroute_all(behavior="ignoreErrors")
            page.evaluate("origin !== 'null' && sessionStorage.clear()")
            page.goto("about:blank")


@pytest.fixture(scope="session")
def visitors(browser: Browser) -> Visitors:
    return Visitors(browser)


Opener = Callable[..., Watched]


@pytest.fixture
def open_page(browser: Browser, visitors: Visitors) -> Iterator[Opener]:
    """Open a page as a visitor of its own; afterwards there must have been no fault.

    A test that does to a page what cannot be undone, such as listening to it, asks for a new one: `is_new`. So does
    one that wants options of a browser context.
    """
    opened: list[Watched] = []

    def open_one(site: Site, *, viewport: Mapping[str, int] = WINDOW, is_new: bool = False, **options: Any) -> Watched:
        look = {name: options.pop(name, None) for name in ("color_scheme", "reduced_motion")}
        permissions = options.pop("permissions", [])
        page = browser.new_context(**options).new_page() if options or is_new else visitors.page(len(opened))
        page.set_default_timeout(WAIT_MS)
        watched = Watched(page, site.url)
        opened.append(watched)
        forget_all(page, site.url)
        page.context.grant_permissions(permissions)
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        page.emulate_media(**look)
        watched.listen()
        page.goto(site.url)
        wait_for_start(page)
        return watched

    yield open_one
    for watched in opened:
        watched.stop_listening()
        visitors.leave(watched.page)
        assert watched.faults == []


def wait_for_start(page: Page) -> None:
    """Until the board's modules are there and it is started."""
    page.wait_for_selector("#gac-board [data-started]", state="attached")


def reload(page: Page) -> None:
    page.reload()
    wait_for_start(page)


def forget_all(page: Page, url: str) -> None:
    """Cookies, keys, settings and permissions of a site."""
    page.context.clear_permissions()
    everything = {"origin": url.rstrip("/"), "storageTypes": "cookies,local_storage,indexeddb,service_workers"}
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", everything)
    session.detach()


class Stage:
    """The service of the test that runs now, to a page that is built once for all tests: that takes half a second."""

    service: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, str]]:
    """The stage, and its page's address."""
    stage = Stage()
    stage.service = planted_service(tmp_path_factory.mktemp("stage"))
    with served(stage, place="stage") as opened:  # type: ignore[arg-type]
        yield stage, opened.url


@pytest.fixture(scope="session")
def arena_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Stage, str]]:
    """The stages of a service and of its arena, and their page's address."""
    runs, arena = Stage(), Stage()
    runs.service, _, arena.service = planted_arena(tmp_path_factory.mktemp("arena"))
    with served(runs, None, arena, place="arena") as opened:  # type: ignore[arg-type]
        yield runs, arena, opened.url


Server = Callable[..., Site]


@pytest.fixture
def serve(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve the planted ensemble that a test gives, once in a test.

    Where members, options of the server or a patch of what the page is built of are the test's own, so is the host.
    """
    with ExitStack() as sites:

        def start(
            ensemble: PlantedEnsemble | None = None,
            members: tuple[str, ...] = MEMBERS,
            *,
            has_own_host: bool = False,
            **server: int,
        ) -> Site:
            service = planted_service(tmp_path, ensemble, members, **server)
            if has_own_host or members != MEMBERS or server:
                return sites.enter_context(served(service))
            stage, url = request.getfixturevalue("stage")
            stage.service = service
            sites.callback(service.close)
            return Site(url, service)

        yield start


@pytest.fixture
def serve_arena(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve the planted ensemble that a test gives with an arena over it, once in a test. A public one has its host."""
    with ExitStack() as sites:

        def start(ensemble: PlantedEnsemble | None = None, *, public: bool = False) -> Site:
            planted = planted_arena(tmp_path, ensemble, public=public)
            if public:
                return sites.enter_context(served(planted.runs, None, planted.arena))
            runs, arena, url = request.getfixturevalue("arena_stage")
            runs.service, arena.service = planted.runs, planted.arena
            sites.callback(planted.runs.close)
            return Site(url, planted.runs, store=planted.store)

        yield start


HOSTILE_NAME = "<img src=x onerror=alert(1)>"


def keep_calibration(lab: Lab, ensemble: Ensemble) -> None:
    """Among the results of the command line."""
    sense = next(one for one in lab.sets if one.name == "sense")
    result = carry_out(CalibrationStudy, ensemble, sense, 4, None, lambda _: None)
    lab.results.files.keep(result, ensemble.config.member_names)


@pytest.fixture(scope="session")
def lab_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two random members, one of a hostile name, behind a page with a Lab, and a result of the command line."""
    folder, models = tmp_path_factory.mktemp("lab"), [FakeModel("slow", 1, delay_s=0.003), FakeModel(HOSTILE_NAME, 2)]
    config = config_of([model.name for model in models], lab={"max_per_hour": 1000})
    store = Store(database_in(folder / "runs.sqlite3"))
    service = RunService(config, store)
    service.members.use(ensemble_of(models, config))
    lab = Lab(config, folder / "evaluation", lambda: in_background(service.members.ensemble()), store)
    keep_calibration(lab, service.members.ensemble())
    with served(service, lab, place="lab") as opened:
        yield opened
    lab.close()
