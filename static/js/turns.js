// The conversation's earlier turns, above the prompt; each opens on the board.

const list = element.querySelector(".gac-turns");

async function open(id) {
  await window.gac.clear();
  window.gac.expect();
  trigger('open', { key: visitorKey(), run: id });
}

const without = (count) => t("turns.deleted", { n: count });

/** A turn was deleted: the list goes on without it, and says so. */
window.gac.forgetTurn = (id) => {
  const turns = parseJson(props.value, []), left = turns.filter((turn) => turn.id && turn.id !== id);
  const before = turns.find((turn) => turn.deleted)?.deleted ?? 0;
  if (!turns.some((turn) => turn.id === id)) return;
  props.value = JSON.stringify([{ deleted: before + 1 }, ...left]);
  draw();
};

function draw() {
  const turns = parseJson(props.value, []);
  list.hidden = !turns.length;
  list.replaceChildren(...turns.map((turn) => turn.deleted ? h("li", { class: "gac-small", text: without(turn.deleted) }) : h("li", {},
    h("button", { type: "button", title: t("turns.show"), "aria-current": turn.is_shown ? "true" : null, onclick: () => open(turn.id) },
      h("span", { class: "gac-turn-prompt", dir: "auto", text: turn.prompt }),
      h("span", { class: "gac-turn-answer", dir: "auto", text: turn.answer || t("turns.no-answer") })))));
  const shown = list.querySelector("[aria-current]");
  document.body.classList.toggle("gac-shows-earlier", Boolean(shown));
  if (shown) list.scrollTop = shown.offsetTop - list.offsetTop;
  else list.scrollTop = list.scrollHeight; // the newest are in sight
}
watch("value", draw);
draw();
