// The conversation's earlier turns, above the prompt; each opens on the board.

const list = element.querySelector(".gac-turns");

async function open(id) {
  await window.gac.clear();
  window.gac.expect();
  trigger('open', { key: visitorKey(), run: id });
}

function draw() {
  const turns = parseJson(props.value, []);
  list.hidden = !turns.length;
  list.replaceChildren(...turns.map((turn) => h("li", {},
    h("button", { type: "button", title: "Show this turn", "aria-current": turn.is_shown ? "true" : null, onclick: () => open(turn.id) },
      h("span", { class: "gac-turn-prompt", dir: "auto", text: turn.prompt }),
      h("span", { class: "gac-turn-answer", dir: "auto", text: turn.answer || "no answer" })))));
  const shown = list.querySelector("[aria-current]");
  document.body.classList.toggle("gac-shows-earlier", Boolean(shown));
  if (shown) list.scrollTop = shown.offsetTop - list.offsetTop;
  else list.scrollTop = list.scrollHeight; // the newest are in sight
}
watch("value", draw);
draw();
