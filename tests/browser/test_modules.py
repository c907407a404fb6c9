"""The page's modules in a browser: each by itself, once for all parts, late, and not at all; and what a page loads.

`pytest -s tests/browser/test_modules.py` prints the bytes for the table of docs/performance.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from playwright.sync_api import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gac_app.ui.scripts import FIRST, LATER, scripts
from tests.browser.conftest import Opener, Server, Site, reload, served
from tests.ui.planted import planted_service

pytestmark = pytest.mark.browser

FILE = re.compile(rf"/scripts/\w+/{re.escape(FIRST)}$")
MODULES = [name.removeprefix("js/") for name in scripts().files if name.startswith("js/")]
TRANSFERRED = """performance.getEntriesByType('resource')
  .filter(({ name }) => name.includes('/scripts/')).map(({ transferSize }) => transferSize)"""
SIZES = """['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  .map(({ name, encodedBodySize }) => [new URL(name).pathname, encodedBodySize])"""
ALONE = """async ([address, modules]) => {
  const failed = [];
  for (const module of modules) {
    try { await import(`${address}/${module}`); } catch (error) { failed.push(`${module}: ${error}`); }
  }
  return failed;
}"""

PLOT = """async (address) => {
  let isWatching = null;
  window.MutationObserver = class { observe() { isWatching = true; } disconnect() { isWatching = false; } };
  const { ConfidencePlot } = await import(`${address}/answer/plot.js`);
  const plot = new ConfidencePlot(0.5, "gate", () => {}), told = [];
  const turn = () => new Promise((resolve) => setTimeout(resolve, 20));
  for (const [change, wanted] of [[() => document.body.append(plot.root), true], [() => plot.root.remove(), false]]) {
    change();
    for (let left = 500; left && isWatching !== wanted; left -= 1) await turn();
    told.push(isWatching);
  }
  return told;
}"""

COPY = """async (address) => {
  const { copyBy } = await import(`${address}/page/browser.js`);
  const { clipboard } = navigator, button = document.createElement("button"), told = [];
  document.body.append(button);
  Object.defineProperty(navigator, "clipboard", { value: undefined });
  for (const prepare of [() => button.focus(), () => { document.execCommand = () => false; }]) {
    prepare();
    await copyBy(button, "a <b>text</b>", "Copy");
    told.push(button.textContent, await clipboard.readText(), document.activeElement === button);
  }
  return told;
}"""

SPEED = """async (address) => {
  const { Stream } = await import(`${address}/answer/stream.js`), stream = new Stream(0, "key", -1), times = [];
  for (let n = 0; n < 100; n += 1) times.push(5 * n); // written before the page came
  for (let n = 1; n <= 8; n += 1) times.push(500 + 250 * n);
  for (const at of times) { performance.now = () => at; stream.add([0, "a", 0]); }
  return stream.speed;
}"""

VOTES = """async (address) => {
  const { Votes } = await import(`${address}/compare/votes.js`), root = document.createElement("div");
  const sent = [], told = [], streams = ["ensemble", "member:a", "member:b"];
  const votes = new Votes(root, (outcome) => new Promise((answer) => sent.push({ outcome, answer })));
  const show = (outcome) => votes.start({ members: ["a", "b"], streams, outcome });
  const answered = async (reply) => { sent.at(-1).answer(reply); await new Promise((resolve) => setTimeout(resolve)); };
  for (const [act, reply] of [[() => votes.vote("tie"), { error: "late" }], [() => votes.takeBack(), {}]]) {
    show(null);
    act();
    show("all-bad"); // another run
    await answered(reply);
    told.push(`${votes.outcome} ${root.querySelectorAll("[role=alert]").length}`);
  }
  show(null);
  votes.vote("tie");
  show(null);
  votes.vote("ensemble");
  return [...told, sent.at(-1).outcome];
}"""

INSPECTED = """async (address) => {
  const { Inspector } = await import(`${address}/answer/inspector.js`), root = document.createElement("div");
  const asked = [], turn = () => new Promise((resolve) => setTimeout(resolve, 1));
  const stream = { key: "ensemble", member: -1, end: { reason: "stop" }, tokens: [{ text: "" }] };
  const step = { position: 0, prob: 1, top: [], members: [], dropped: [], drawn: "b" };
  const inspector = new Inspector(root, () => new Promise((answer) => asked.push(answer)), { onShown: () => {} });
  const inspect = async () => { inspector.show(stream, 0, []); await turn(); };
  const answered = async (at, label) => { asked[at]({ ...step, label }); await turn(); };
  for (const run of ["former", "shown"]) {
    inspector.clear({ members: ["a"], streams: ["member:a"], run });
    await inspect();
  }
  await answered(1, "shown");
  await answered(0, "former");
  await inspect();
  const notes = [...root.querySelectorAll(".gac-label, .gac-small")].map((note) => note.textContent.trim());
  stream.end = null; // while it streams, more may be known the next time
  const whole = asked.length;
  inspector.clear({ members: ["a"], streams: ["member:a"], run: "streaming" });
  for (const _ of [1, 2]) { await inspect(); await answered(asked.length - 1, ""); }
  return [whole, asked.length - whole, ...notes];
}"""

WEIGHTS = """async (address) => {
  const { FIELD_KINDS } = await import(`${address}/settings/fields.js`), defaults = { a: 0.75, b: 0.25 }, told = [];
  const spec = { name: "weights", label: "", members: ["a", "b"] };
  const field = new FIELD_KINDS.weights(spec, (value) => told.push(value));
  field.show(defaults);
  Object.assign(field.inputs[0], { value: "0.5" }).dispatchEvent(new Event("input"));
  return [told, defaults];
}"""

REST = """async (address) => {
  const { Rest } = await import(`${address}/compare/rest.js`), told = [];
  const tokens = { writeAhead() {}, close() {} }, stream = { index: 0, tokens: [], end: { tokens: 1 }, text: "" };
  const board = { streams: [stream], cards: [{ tokens, flush() {} }], request: (fields) => fields, refresh() {} };
  board.take = (line) => { told.push(line); stream.tokens.push(line); };
  board.server = { read_tokens: async () => ({ tokens: [["a"]] }), find_forks: async () => ({}) };
  for (const isLeft of [true, false]) {
    board.rest = new Rest(board);
    board.rest.add(0, "a");
    const loading = board.rest.load();
    if (isLeft) board.rest = null;
    await loading;
    told.push(isLeft ? "left" : "stayed");
  }
  return told;
}"""

LEFT = r"""async (address) => {
  const { StreamReader } = await import(`${address}/answer/stream.js`), told = [];
  const reader = new StreamReader((run) => told.push(run), (line) => told.push(line));
  for (const value of ['{"run":"a"}\n', '{"run":"b"}\n', '{"run":"a"}\n1\n', '{"run":"b"}\n2\n']) reader.feed(value);
  return told;
}"""

DAYS = """async (address) => {
  const { startOf } = await import(`${address}/page/numbers.js`);
  return [startOf(""), startOf("2026-03-29"), startOf("2026-03-29", 1), startOf("2026-10-25", 1)];
}"""

CHANGED = """async (address) => {
  const { changesIn, runVerdict } = await import(`${address}/answer/verdict.js`);
  const mark = { start: 0, end: 3, tokens: [{ change: 1 }] };
  const told = { gate: "a", others: ["b"], alone: [] };
  const never = (gate) => runVerdict({ ...changesIn({ text: "", all: [] }, [{ winner: 1 }], gate), ...told });
  const { namesOf } = await import(`${address}/answer/painter.js`);
  const { forced } = namesOf({ tokens: [{ change: 1, isForced: true, prob: 1 }] }, true);
  return [changesIn({ text: "ab，cd", all: [mark] }, []).changedWords, never(1), never(0), forced];
}"""


FOCUSED = """async (address) => {
  const { TokenText } = await import(`${address}/answer/tokens.js`);
  const { Painter } = await import(`${address}/answer/painter.js`);
  const tokens = new TokenText("a", new Painter(), true, { onHint() {} });
  document.body.append(tokens.frame);
  tokens.root.focus();
  tokens.append({ index: 0, text: "a", prob: 1 });
  tokens.flush();
  tokens.frame.remove();
  return tokens.cursor;
}"""

SPOKEN = """async (address) => {
  const { StatusLine } = await import(`${address}/compare/status.js`), [seen, spoken] = [{}, {}], told = [];
  const line = new StatusLine(seen, spoken);
  for (const [second, phase] of [[0, "Reading"], [1, "Writing"], [2, "Writing"], [9, "Writing"], [11, "Writing"]]) {
    performance.now = () => 20_000 + 1000 * second;
    line.show(`${phase} · ${second} s`);
    told.push(parseInt(spoken.textContent.split("· ")[1]));
  }
  return [...told, seen.textContent];
}"""


def test_modules_do_alone_what_they_are_for(serve: Server, open_page: Opener) -> None:
    """Each loads by itself; without a clipboard, as over plain HTTP, a selection is copied; a plot that left the page
    watches nothing; a page that comes late tells the pace since then; late replies to votes
    and about tokens change no other run's; a day ends when the next one begins, where the clocks change too.
    """
    page = open_page(
        serve(), is_new=True, timezone_id="Europe/Berlin", permissions=["clipboard-read", "clipboard-write"]
    )
    address = f"{page.url}scripts/{scripts().version}/js"
    assert page.page.evaluate(ALONE, [address, MODULES]) == []
    copied = ["a <b>text</b>", True]
    assert page.page.evaluate(COPY, address) == ["Copied", *copied, "The browser refused.", *copied]
    assert page.page.evaluate(PLOT, address) == [True, False]
    assert page.page.evaluate(SPEED, address) == 4
    assert page.page.evaluate(VOTES, address) == ["all-bad 0", "all-bad 0", "ensemble"]
    stopped = "Part of a stop string, which ended the answer and is not shown."
    assert page.page.evaluate(INSPECTED, address) == [2, 2, "shown", stopped, "Took no part: a."]
    assert page.page.evaluate(REST, address) == ["left", [0, "a"], "stayed"], "what came late is of no other run"
    assert page.page.evaluate(LEFT, address) == ["a", "b", 2], "two runs that go on do not take turns"
    [num_changed, never, lost, forced] = page.page.evaluate(CHANGED, address)
    assert num_changed == 1, "the word behind a changed one is not changed"
    assert never
    assert forced is None, "soft ink cannot be read on its ground"
    assert not lost, "a gate that was lost did not write the whole answer"
    told = [[{"a": 0.5, "b": 0.25}], {"a": 0.75, "b": 0.25}]
    assert page.page.evaluate(FOCUSED, address) == 0, "who waits in an answer for its first word stands on it"
    assert page.page.evaluate(SPOKEN, address) == [0, 1, 1, 1, 11, "Writing · 11 s"], "numbers each ten seconds"
    assert page.page.evaluate(WEIGHTS, address) == told, "the defaults stay what they are"
    days = ["2026-03-28T23", "2026-03-29T22", "2026-10-25T23"]
    assert page.page.evaluate(DAYS, address) == ["", *(f"{day}:00:00.000Z" for day in days)]


def test_the_modules_are_asked_for_once_and_then_kept(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), is_new=True)
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    reload(page.page)
    page.ask("hello")
    there = [f"{page.url}scripts/{scripts().version}/{name}" for name in (FIRST, LATER)]
    assert [url for url in asked if "/scripts/" in url] == there[:1], "nothing for tabs that are not open"
    assert page.page.evaluate(TRANSFERRED) == [0]
    sizes = page.page.evaluate(SIZES)
    others = sum(size for path, size in sizes if path.startswith(("/assets/", "/static/")))
    own = sum(size for _, size in sizes) - others
    print(f"before the first answer: {own / 1000:.0f} kB, and {others / 1000:.0f} kB of Gradio's")
    assert own < 400_000
    page.click("role=tab[name=History]", then=".gac-run-prompt:text-is('hello')")
    assert [url for url in asked if "/scripts/" in url] == there


def test_parts_say_so_where_their_modules_do_not_come(serve: Server, open_page: Opener) -> None:
    page = open_page(serve(), locale="de")
    page.page.route(FILE, lambda route: route.abort())
    page.page.reload()
    page.page.wait_for_selector("#gac-board .is-error[role=alert]:text('nicht geladen')")
    page.page.wait_for_selector("#gac-members .is-error[role=alert]:text('nicht geladen')")
    page.faults[:] = [fault for fault in page.faults if FIRST not in fault and "ERR_FAILED" not in fault]


def test_there_is_nothing_to_press_before_the_modules_come(serve: Server, open_page: Opener) -> None:
    page = open_page(serve())
    held: list[Route] = []
    page.page.route(FILE, lambda route: held.append(route))
    page.page.goto(page.url, wait_until="commit")
    page.page.wait_for_function("document.readyState === 'interactive'")
    assert len(held) == 1
    assert page.page.locator("textarea, button").count() == 0
    held[0].continue_()
    page.ask("hello")


PREFIX = "/demo"


def below_prefix(host: FastAPI, outside: list[str]) -> ASGIApp:
    """The host behind a proxy that takes the prefix off and names it. Paths outside belong to another site."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(f"{PREFIX}/"):
            outside.append(scope["path"])
            await Response(status_code=204)(scope, receive, send)
        elif scope["type"] == "http":
            headers = [*scope["headers"], (b"x-forwarded-proto", b"http"), (b"x-forwarded-prefix", PREFIX.encode())]
            below = {name: scope[name][len(PREFIX) :] for name in ("path", "raw_path")}
            await host({**scope, **below, "headers": headers}, receive, send)
        else:
            await host(scope, receive, send)

    return proxy


def test_everything_works_under_a_sub_path(tmp_path: Path, open_page: Opener) -> None:
    service, outside = planted_service(tmp_path, trusted_proxies=("127.0.0.1",)), list[str]()  # type: ignore[arg-type]
    with served(service, place="below", proxied=lambda host: below_prefix(host, outside)) as site:
        page = open_page(Site(f"{site.url}{PREFIX[1:]}/", site.service), is_new=True)
        page.ask("hello")
        page.ask("and then?")
        page.click_token(1, then=".gac-inspector .gac-bars")
        page.page.keyboard.press("Escape")
        page.click("role=tab[name=History]", then=".gac-run-prompt:has-text('and then?')")
        page.page.reload()
        page.click("role=tab[name=Compare]", then=".gac-asked h2:text-is('and then?')")
        page.page.goto("about:blank")  # else the host would wait for its streams to end
    assert outside == []
