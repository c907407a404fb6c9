// The Lab: a form for a study, its progress, its result as plot and tables, and the results kept.

const POLL_MS = 1000;
const PNG_SCALE = 2;
const part = (selector) => element.querySelector(selector);
const form = part("form"), studies = part(".gac-lab-studies"), note = part(".gac-lab-note");
const running = part(".gac-lab-running"), cancel = part("[data-act=cancel]"), shown = part(".gac-lab-result"), kept = part(".gac-lab-kept ol");
let overview = null; // what may be studied
let known = null; // ids of the results listed; null = not asked yet
let isMine = false; // whether the study that runs, or ran last, is this visitor's
let isCancelled = false; // and was called off
let timer = 0;

async function ask(name, fields = {}) {
  return (await server[name]({ key: visitorKey(), ...fields })) ?? { error: "The server did not answer. Try again." };
}

const chosen = () => overview.studies.find((study) => study.name === form.elements.study.value);

async function open() {
  const reply = await ask("lab_overview");
  if (reply.error) return say(reply.error);
  overview = reply;
  form.hidden = !overview.may_start;
  part(".gac-lab-shut").hidden = overview.may_start;
  part(".gac-lab-browser").textContent = overview.browser;
  studies.replaceChildren(...overview.studies.map((study, index) => h("label", { class: "gac-lab-study" },
    h("input", { type: "radio", name: "study", value: study.name, checked: index === 0, onchange: choose }), h("span", { text: study.title }))));
  const count = form.elements.questions;
  [count.min, count.max, count.value] = [overview.min_questions, overview.max_questions, Math.min(20, overview.max_questions)];
  choose();
  await refresh();
}

function choose() {
  const study = chosen(), sets = form.elements.set;
  part(".gac-lab-about").textContent = study.about;
  const before = sets.value;
  sets.replaceChildren(...study.sets.map((set) => h("option", { value: set.name, text: `${set.name} (${set.count})` })));
  if (study.sets.some((set) => set.name === before)) sets.value = before;
  for (const field of [".gac-lab-set", ".gac-lab-count"]) part(field).hidden = !study.sets.length;
  chooseSet();
}

function chooseSet() {
  const set = chosen().sets.find(({ name }) => name === form.elements.set.value);
  part(".gac-lab-protocol").textContent = set?.about ?? "";
}

function say(text) {
  note.textContent = text;
}

async function start(event) {
  event.preventDefault();
  say("");
  const questions = form.elements.questions.valueAsNumber;
  const reply = await ask("lab_start", { study: chosen().name, set: form.elements.set.value, questions });
  if (reply.error) return say(reply.error);
  isMine = true;
  isCancelled = false;
  await refresh();
}

/** What runs and what is kept. A result that is new while a study of this visitor ran is its own: shown at once. */
async function refresh() {
  clearTimeout(timer);
  const state = await ask("lab_state");
  if (!state.results) {
    say(state.error);
    timer = setTimeout(refresh, POLL_MS);
    return;
  }
  showRunning(state.running);
  const fresh = known && state.results.find((result) => !known.has(result.id));
  if (!known || fresh || known.size !== state.results.length) {
    list(state.results);
    trigger('kept');
  }
  if (state.running) isMine = state.running.is_mine;
  else if (isMine) {
    isMine = false;
    say(state.error);
    if (fresh) await show(fresh.id);
  }
  if (state.running) timer = setTimeout(refresh, POLL_MS);
}

function showRunning(study) {
  running.hidden = !study;
  part(".gac-lab-run").disabled = Boolean(study);
  if (!study) return;
  const what = [study.title, study.set].filter(Boolean).join(" on ");
  const left = study.seconds_left === null ? "" : `, about ${seconds(study.seconds_left)} left`;
  const round = study.round > 1 ? `round ${study.round}, ` : "";
  const progress = study.num_total ? `${round}${study.num_done} of ${plural(study.num_total, "answer")}${left}` : "beginning";
  part(".gac-lab-progress").textContent = `${what}: ${isCancelled ? "ending" : progress}`;
  const bar = part("progress");
  if (study.num_total) bar.value = study.num_done / study.num_total;
  else bar.removeAttribute("value");
  cancel.hidden = !study.may_cancel;
  cancel.disabled = isCancelled;
}

function list(results) {
  known = new Set(results.map((result) => result.id));
  part(".gac-lab-empty").hidden = results.length > 0;
  kept.replaceChildren(...results.map((result) => h("li", {},
    h("button", { type: "button", class: "gac-run-open", onclick: () => show(result.id) },
      h("span", { class: "gac-run-prompt", text: `${titleOf(result.study)}: ${result.heading}` }),
      h("span", { class: "gac-small", text: [when(result), result.members.join(", ")].join(" · ") })))));
}

const titleOf = (name) => overview.studies.find((study) => study.name === name)?.title ?? name;
const when = (result) => new Date(result.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

async function show(id) {
  const result = await ask("lab_result", { result: id });
  if (result.error) return say(result.error);
  say("");
  // An image runs no script, whatever stands in the document.
  const plot = result.plot ? h("img", { alt: `Plot: ${titleOf(result.study)}, ${result.heading}`, src: svgAddress(result.plot) }) : null;
  shown.replaceChildren(...[
    h("header", {}, h("h2", { text: titleOf(result.study) }), h("p", { class: "gac-small", text: `${result.heading} · ${when(result)} · ${result.members.join(", ")}` }),
      h("div", { class: "gac-lab-exports" }, ...exportsOf(result, plot))),
    plot ? h("div", { class: "gac-lab-plot", tabindex: "0", role: "region", "aria-label": "Plot" }, plot) : null,
    ...result.remarks.map((remark) => h("p", { text: remark })),
    ...result.tables.map(table),
  ].filter(Boolean));
  shown.hidden = false;
  shown.focus({ preventScroll: true });
  shown.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function table({ title, columns, rows }) {
  return h("div", { class: "gac-lab-table", tabindex: "0", role: "region", "aria-label": title || "Table" }, h("table", {},
    title ? h("caption", { text: title }) : null,
    h("thead", {}, h("tr", {}, ...columns.map((text) => h("th", { scope: "col", text })))),
    h("tbody", {}, ...rows.map(([first, ...others]) => h("tr", {}, h("th", { scope: "row", text: first }), ...others.map((text) => h("td", { text })))))));
}

function exportsOf(result, plot) {
  const button = (text, make) => h("button", { type: "button", class: "gac-button", text, "aria-label": `Export as ${text}`, onclick: make });
  const saveText = (ending, type, text) => () => save(`${result.id}.${ending}`, new Blob([text], { type }));
  return [
    button("CSV", saveText("csv", "text/csv", result.csv)),
    button("JSON", saveText("json", "application/json", result.json)),
    ...(plot ? [
      button("SVG", saveText("svg", "image/svg+xml", result.plot)),
      button("PNG", () => savePng(`${result.id}.png`, plot)),
    ] : []),
  ];
}

const svgAddress = (svg) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;

function save(name, blob) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), POLL_MS);
}

function savePng(name, image) {
  const canvas = h("canvas", { width: image.naturalWidth * PNG_SCALE, height: image.naturalHeight * PNG_SCALE });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => save(name, blob), "image/png");
}

form.addEventListener("submit", start);
form.elements.set.addEventListener("change", chooseSet);
cancel.addEventListener("click", async () => {
  isCancelled = cancel.disabled = true;
  const reply = await ask("lab_cancel");
  if (reply.error) say(reply.error);
  isCancelled = !reply.error;
  await refresh();
});
window.gac.refreshLab = () => (overview ? refresh() : open());
open();
