// Presets that come with the page: settings worth trying, each with a sentence that says why.

import { t } from "../page/words.js";

const SHIPPED = {
  paper: { mode: "every-step", alignment: "paper", combine: "mean", weights: "average", temperature: 0 },
  creative: { temperature: 0.9, min_p: 0.05 },
  cheapest: { mode: "gate", threshold: 0.3, gate_policy: "lazy" },
};
const KEPT = ["members", "max_new_tokens", "system_prompt", "stop", "seed"]; // the visitor's own, whatever the preset

/** Of all: {name, about, changes}, where `changes` are from the defaults. `kept`: changes of which some are kept. */
export const shippedPresets = (defaults, kept) => Object.entries(SHIPPED).map(([id, changes]) =>
  ({ name: t(`preset.${id}`), about: t(`preset.${id}.about`), changes: whole(changes, defaults, kept) }));

/** In the order of the defaults, from which they all differ. */
function whole(changes, defaults, kept) {
  const own = Object.fromEntries(KEPT.filter((name) => name in kept).map((name) => [name, kept[name]])), all = { ...own, ...changes };
  return Object.fromEntries(Object.keys(defaults).filter((name) => name in all && JSON.stringify(all[name]) !== JSON.stringify(defaults[name])).map((name) => [name, all[name]]));
}
