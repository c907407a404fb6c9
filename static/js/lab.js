// The Lab: a form for a study, its progress, and the results kept.

const POLL_MS = 1000;
const part = (selector) => element.querySelector(selector);
const form = part("form"), studies = part(".gac-lab-studies"), note = part(".gac-lab-note");
const running = part(".gac-lab-running"), cancel = part("[data-act=cancel]"), own = part(".gac-own"), kept = part(".gac-lab-kept ol");
let overview = null; // what may be studied
let known = null; // ids of the results listed; null = not asked yet
let isMine = false; // whether the study that runs, or ran last, is this visitor's
let isCancelled = false; // and was called off
let shown = ""; // the result that is looked at
let timer = 0;

async function ask(name, fields = {}) {
  return answerTo(server[name]({ key: visitorKey(), ...fields }));
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
    h("input", { type: "radio", name: "study", value: study.name, checked: index === 0, onchange: choose }), h("span", { text: said(study.title) }))));
  form.elements.questions.value = Math.min(20, overview.max_questions);
  fillFromFile(part(".gac-own input[type=file]"), form.elements.own, overview.max_own_chars, say);
  choose();
  await refresh();
}

function choose() {
  const study = chosen(), sets = form.elements.set;
  part(".gac-lab-about").textContent = said(study.about);
  const before = sets.value;
  const asksNothing = study.needs === "nothing";
  sets.replaceChildren(...study.sets.map((set) => h("option", { value: set.name, text: `${set.name} (${set.count})` })),
    h("option", { value: overview.own, text: t("lab.own") }));
  if ([...sets.options].some((option) => option.value === before)) sets.value = before;
  for (const field of [".gac-lab-set", ".gac-lab-count"]) part(field).hidden = asksNothing;
  form.elements.questions.disabled = asksNothing; // a hidden field must not hold the form up
  chooseSet();
}

function chooseSet() {
  const set = chosen().sets.find(({ name }) => name === form.elements.set.value);
  part(".gac-lab-protocol").textContent = said(set?.about);
  own.hidden = chosen().needs === "nothing" || form.elements.set.value !== overview.own;
}

function say(text) {
  note.textContent = said(text);
}

function start(event) {
  event.preventDefault();
  say("");
  const { set, questions, own: mine } = form.elements;
  const fields = { study: chosen().name, set: set.value, questions: questions.valueAsNumber || 0, own: own.hidden ? "" : mine.value };
  trigger("started", { key: visitorKey(), at: Date.now(), ...fields });
}

watch("value", async () => {
  const reply = parseJson(props.value, null);
  if (!reply) return;
  say(reply.error);
  if (reply.error) return;
  isMine = true;
  isCancelled = false;
  await refresh();
});

/** What runs and what is kept. A result that is new while a study of this visitor ran is its own: shown at once. */
async function refresh(isChanged = false) {
  clearTimeout(timer);
  const state = await ask("lab_state");
  if (!state.results) {
    say(state.error);
    timer = setTimeout(refresh, POLL_MS);
    return;
  }
  showRunning(state.running);
  const fresh = known && state.results.find((result) => !known.has(result.id) && result.is_mine);
  if (isChanged || !known || fresh || known.size !== state.results.length) {
    list(state.results);
    trigger('kept');
  }
  if (state.running) isMine = state.running.is_mine;
  else if (isMine) {
    isMine = false;
    say(state.error);
    if (fresh) show(fresh.id);
  }
  if (state.running) timer = setTimeout(refresh, POLL_MS);
}

function showRunning(study) {
  running.hidden = !study;
  part(".gac-lab-run").disabled = Boolean(study);
  if (!study) return;
  const what = study.set ? t("lab.study-on", { study: said(study.title), set: study.set }) : said(study.title);
  const left = study.seconds_left === null ? "" : t("lab.left", { time: seconds(study.seconds_left) });
  const round = study.round > 1 ? t("lab.round", { round: study.round }) : "";
  const answers = study.num_total ? t("lab.answers", { done: study.num_done, n: study.num_total }) : t("lab.beginning");
  part(".gac-lab-progress").textContent = `${what}: ${isCancelled ? t("lab.ending") : [round, answers, left].filter(Boolean).join(", ")}`;
  const bar = part("progress");
  if (study.num_total) bar.value = study.num_done / study.num_total;
  else bar.removeAttribute("value");
  cancel.hidden = !study.may_cancel;
  cancel.disabled = isCancelled;
}

function list(results) {
  known = new Set(results.map((result) => result.id));
  part(".gac-lab-empty").hidden = results.length > 0;
  kept.replaceChildren(...results.map(row));
}

const titleOf = (name) => said(overview?.studies.find((study) => study.name === name)?.title ?? name);

function row(result) {
  const title = `${titleOf(result.study)}: ${result.heading}`, name = result.name || title;
  const facts = [result.name ? title : null, moment(result.created_at), result.members.join(", "), t(result.is_mine ? "lab.yours" : "lab.operators")];
  const item = h("li", {},
    h("button", { type: "button", class: "gac-run-open", onclick: () => show(result.id) },
      h("span", { class: "gac-run-prompt", dir: "auto", text: name }),
      h("span", { class: "gac-small", text: facts.filter(Boolean).join(" · ") })));
  if (result.may_edit) {
    item.append(
      h("button", { type: "button", class: "gac-icon", text: t("rename"), "aria-label": t("rename.of", { label: name }), onclick: () => rename(item, result, name) }),
      h("button", { type: "button", class: "gac-icon gac-danger", text: t("delete"), "aria-label": t("delete.of", { label: name }), onclick: () => remove(item, result, name) }));
  }
  return item;
}

/** A field in the row's place; Enter keeps the name, Esc does not. */
function rename(item, result, name) {
  const field = h("input", { class: "gac-search", value: name, maxlength: 100, "aria-label": t("lab.name") });
  const finish = () => refresh(true);
  field.addEventListener("keydown", async (event) => {
    if (event.key === "Escape") return finish();
    if (event.key !== "Enter") return;
    const reply = await ask("lab_rename", { result: result.id, name: field.value });
    say(reply.error ?? "");
    await finish();
  });
  const keep = h("button", { type: "button", class: "gac-button", text: t("lab.keep-name"), onclick: () => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" })) });
  item.replaceChildren(field, keep);
  field.select();
}

/** Asks once more, in the row's place. */
function remove(item, result, name) {
  const finish = () => refresh(true);
  const yes = h("button", { type: "button", class: "gac-button gac-danger", text: t("delete"), onclick: async () => {
    const reply = await ask("lab_delete", { result: result.id });
    say(reply.error ?? "");
    if (!reply.error && shown === result.id) show("");
    await finish();
  } });
  item.replaceChildren(h("span", { class: "gac-run-open", text: t("lab.delete", { name }) }), yes,
    h("button", { type: "button", class: "gac-button", text: t("keep-it"), onclick: finish }));
  yes.focus();
}

function show(id) {
  shown = id;
  trigger("shown", { key: visitorKey(), result: id });
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
window.gac.studyTitle = titleOf;
window.gac.refreshLab = () => (overview ? refresh() : open());
open();
