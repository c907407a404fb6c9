// The history's list: conversations, and in each its runs.

import { branchWords } from "../compare/asked.js";
import { outcomeWords } from "./filters.js";
import { h, menu } from "../page/elements.js";
import { moment } from "../page/numbers.js";
import { t } from "../page/words.js";

const MAX_NAME_CHARS = 120;

const item = (text, onclick, extra = "") => h("button", { type: "button", class: `gac-icon ${extra}`, text, onclick });

/** `actions`: {onOpen(run), onRerun(run), onDeleteRun(run), onDelete(conversation), onName(conversation, name), onStar(conversation): its reply, onChoose()}. */
export function conversationItem(conversation, actions) {
  const { runs, num_runs: count, name } = conversation, first = runs[0];
  const title = name || first.prompt.slice(0, 60) || t("no-text");
  const star = item("", async () => {
    const before = conversation.is_starred;
    draw(!before);
    if ((await actions.onStar(conversation)).error) draw(before);
  }, "gac-star");
  const draw = (isStarred) => {
    conversation.is_starred = isStarred;
    star.textContent = isStarred ? "★" : "☆";
    star.setAttribute("aria-label", t("history.star", { title }));
    star.setAttribute("aria-pressed", String(isStarred));
  };
  draw(conversation.is_starred);
  const rename = item(t(name ? "rename" : "name"), () => askName(rename.closest(".gac-keep"), conversation, actions));
  const isGroup = count > 1 || Boolean(name);
  const shown = runs.length < count ? t("history.some-turns", { some: runs.length, n: count }) : t("count.turns", { n: count });
  const head = isGroup ? h("header", { class: "gac-conversation-head" },
    star, h("h2", { dir: "auto", text: name || first.prompt || t("no-text") }), h("span", { class: "gac-small", text: shown }), h("span", { class: "gac-spacer" }),
    menu({ text: "⋯", "aria-label": t("more.of", { name: title }) }, rename, item(t("history.delete-turns"), () => actions.onDelete(conversation), "gac-danger"))) : null;
  return h("li", { class: "gac-conversation" }, head,
    h("ol", { class: "gac-runs" }, ...runs.map((run) => runItem(run, isGroup ? {} : { star, rename }, actions))));
}

function runItem(run, { star, rename }, actions) {
  const outcome = run.outcome ? outcomeWords(run.outcome) : null;
  const facts = [
    moment(run.created_at),
    run.status === "finished" ? null : t(`run.${run.status}`),
    run.mode === "gate" ? null : t(`mode.${run.mode}`),
    run.branch_position === null ? null : branchWords(run),
    run.num_tokens ? t("history.tokens", { n: run.num_tokens, ensembled: run.num_ensembled }) : null,
    outcome,
    run.is_shared ? t("history.shared") : null,
  ].filter(Boolean);
  const label = run.prompt.slice(0, 60);
  return h("li", { "data-run": run.id },
    h("label", { class: "gac-choose" }, h("input", { type: "checkbox", "aria-label": t("history.choose", { label }), onchange: () => actions.onChoose() })),
    h("button", { type: "button", class: "gac-run-open", onclick: () => actions.onOpen(run) },
      h("span", { class: "gac-run-prompt", dir: "auto", text: run.status === "damaged" ? t("history.damaged") : run.prompt }),
      run.excerpt ? h("span", { class: "gac-run-excerpt", dir: "auto", text: run.excerpt }) : null,
      h("span", { class: "gac-small", text: facts.join(" · ") })),
    star,
    menu({ text: "⋯", "aria-label": t("more.of", { name: label }) }, ...[rename, item(t("run-again"), () => actions.onRerun(run)), item(t("delete"), () => actions.onDeleteRun(run), "gac-danger")].filter(Boolean)));
}

/** A field in the menu's place. Enter or leaving it keeps the name, Escape the old one. */
function askName(place, conversation, actions) {
  const field = h("input", { type: "text", class: "gac-search gac-name-field", maxlength: MAX_NAME_CHARS, "aria-label": t("history.name.field"), placeholder: t("name") });
  field.value = conversation.name;
  let isOver = false;
  const end = (isKept) => {
    if (isOver) return;
    isOver = true;
    field.replaceWith(place);
    place.open = false;
    if (isKept && field.value.trim() !== conversation.name) actions.onName(conversation, field.value.trim());
    else place.querySelector("summary").focus();
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") end(false);
  });
  field.addEventListener("blur", () => end(true));
  place.replaceWith(field);
  field.focus();
  field.select();
}
