// The settings panel, and what the page asks of it.

import { parseJson } from "../page/browser.js";
import { onLoaded } from "../page/loaded.js";
import { startLook } from "../page/look.js";
import { SettingsPanel } from "./panel.js";

let panel = null;
const listeners = new Set();

export function start({ element, props, trigger, watch }) {
  startLook(element);
  const check = (values, at) => onLoaded(() => trigger("changed", { values, at }));
  const draw = () => {
    const value = parseJson(props.value, null);
    if (!value) return;
    if (!panel && value.spec) panel = new SettingsPanel(element.querySelector(".gac-settings"), value, check);
    if (!value.at || !panel?.tell(value)) return;
    for (const listen of listeners) listen(value);
  };
  watch("value", draw);
  draw();
}

/** The settings of the next run, as they differ from the defaults. */
export const settings = () => panel?.changes() ?? {};

/** All presets: {name, about, changes}. */
export const presets = () => panel?.presets.all ?? [];

/** Ask anew what they mean. */
export const checkSettings = () => panel?.ask();

/** `listen(meaning)` is called with what the settings mean, whenever that is known. */
export function onMeaning(listen) {
  listeners.add(listen);
  checkSettings();
}

export const openSettings = (opener) => panel?.open(opener);
export const openMember = (opener, name) => panel?.openMember(opener, name);
export const showFaults = () => panel?.showFaults();
