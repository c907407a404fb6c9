// The history's list: conversations, and in each its runs.

const OUTCOMES = { ensemble: "ensemble best", tie: "tie", "all-bad": "all bad" };
const STATUSES = { aborted: "stopped" };
const MODE_NAMES = { "every-step": "every step", agreement: "agreement" };
const MAX_NAME_CHARS = 120;

const iconButton = (text, label, onclick, extra = "") => h("button", { type: "button", class: `gac-icon ${extra}`, text, "aria-label": label, onclick });

/** `actions`: {onOpen(run), onRerun(run), onDeleteRun(run), onDelete(conversation), onName(conversation, name), onStar(conversation, isOn), onChoose()}. */
function conversationItem(conversation, actions) {
  const { runs, num_runs: count, name } = conversation, first = runs[0];
  const title = name || first.prompt.slice(0, 60) || "unnamed";
  const star = iconButton("", "", () => {
    conversation.is_starred = !conversation.is_starred;
    draw();
    actions.onStar(conversation);
  }, "gac-star");
  const draw = () => {
    star.textContent = conversation.is_starred ? "★" : "☆";
    star.setAttribute("aria-label", `Star: ${title}`);
    star.setAttribute("aria-pressed", String(conversation.is_starred));
  };
  draw();
  const rename = iconButton(name ? "Rename" : "Name", `Name this conversation: ${title}`, () => askName(rename, conversation, actions));
  const isGroup = count > 1 || Boolean(name);
  const shown = runs.length < count ? `${runs.length} of ${plural(count, "turn")}` : plural(count, "turn");
  const head = isGroup ? h("header", { class: "gac-conversation-head" },
    star, h("h2", { dir: "auto", text: name || first.prompt || "Unnamed" }), h("span", { class: "gac-small", text: shown }), h("span", { class: "gac-spacer" }), rename,
    iconButton("Delete all turns", `Delete this conversation: ${title}`, () => actions.onDelete(conversation), "gac-danger")) : null;
  return h("li", { class: "gac-conversation" }, head,
    h("ol", { class: "gac-runs" }, ...runs.map((run) => runItem(run, isGroup ? [] : [star, rename], actions))));
}

function runItem(run, more, actions) {
  const outcome = run.outcome ? OUTCOMES[run.outcome] ?? `${run.outcome.replace("member:", "")} best` : null;
  const facts = [
    moment(run.created_at),
    run.status === "finished" ? null : STATUSES[run.status] ?? run.status,
    MODE_NAMES[run.mode] ?? null,
    run.branch_position === null ? null : `branch at token ${run.branch_position + 1}`,
    run.num_tokens ? `${plural(run.num_tokens, "token")}, ${run.num_ensembled} ensembled` : null,
    outcome,
    run.is_shared ? "shared" : null,
  ].filter(Boolean);
  const label = run.prompt.slice(0, 60);
  return h("li", { "data-run": run.id },
    h("label", { class: "gac-choose" }, h("input", { type: "checkbox", "aria-label": `Choose: ${label}`, onchange: () => actions.onChoose() })),
    h("button", { type: "button", class: "gac-run-open", onclick: () => actions.onOpen(run) },
      h("span", { class: "gac-run-prompt", dir: "auto", text: run.status === "damaged" ? "This run cannot be read any more." : run.prompt }),
      h("span", { class: "gac-small", text: facts.join(" · ") })),
    ...more,
    iconButton("Run again", `Run again: ${label}`, () => actions.onRerun(run)),
    iconButton("Delete", `Delete: ${label}`, () => actions.onDeleteRun(run), "gac-danger"));
}

/** A field in the button's place. Enter or leaving it keeps the name, Escape the old one. */
function askName(button, conversation, actions) {
  const field = h("input", { type: "text", class: "gac-search gac-name-field", maxlength: MAX_NAME_CHARS, "aria-label": "Name of this conversation", placeholder: "Name" });
  field.value = conversation.name;
  let isOver = false;
  const end = (isKept) => {
    if (isOver) return;
    isOver = true;
    field.replaceWith(button);
    if (isKept && field.value.trim() !== conversation.name) actions.onName(conversation, field.value.trim());
    else button.focus();
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") end(false);
  });
  field.addEventListener("blur", () => end(true));
  button.replaceWith(field);
  field.focus();
  field.select();
}
