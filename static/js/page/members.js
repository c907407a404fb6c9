// One chip per member: how far it is on its way to being ready, until all are.

import { parseJson } from "./browser.js";
import { h, memberName, tellNames } from "./elements.js";
import { said, saidShort, t } from "./words.js";
import { areReady, tellFacts } from "../settings/facts.js";
import { openMember } from "../settings/settings.js";

const LATER_MS = 1000; // a server that says one thing and another server that says otherwise are not asked all the time
let tellStale = () => {};

/** The server says that members load, and the chips do not: it has begun anew. */
export const lookAgain = () => setTimeout(tellStale, LATER_MS);

export function start({ element, props, trigger, watch }) {
  tellStale = () => trigger("stale");
  const chips = element.querySelector(".gac-chips"), notes = element.querySelector(".gac-chip-notes");
  const draw = () => {
    const states = parseJson(props.value, []);
    tellFacts(states);
    tellNames(states.map(({ name }) => name));
    chips.replaceChildren(...states.map(chip));
    chips.hidden = areReady(); // then they say nothing
    notes.replaceChildren(...states.flatMap(notesOf));
  };
  watch("value", draw);
  draw();
}

function chip({ name, phase, progress, words }, index) {
  const isFetching = phase === "fetching" && progress !== null;
  return h("li", { "data-phase": phase },
    h("button", { type: "button", class: "gac-chip", title: t("member.card.of", { name }), onclick: (event) => openMember(event.currentTarget, name) },
      memberName(name, index), h("span", { class: "gac-phase", text: saidShort(words) })),
    isFetching ? h("i", { class: "gac-progress", style: `width:${(progress * 100).toFixed(1)}%` }) : null);
}

function notesOf({ name, phase, detail }) {
  return ["failed", "waiting"].includes(phase) && detail ? [h("p", { class: "is-error", role: "alert" }, h("b", {}, h("bdi", { text: name })), ` ${said(detail)}`)] : [];
}
