// What went wrong with a request, in words, under the prompt.

import { board } from "./compare.js";
import { parseJson } from "../page/browser.js";
import { lookAgain } from "../page/members.js";
import { said, sentence } from "../page/words.js";
import { areReady, onFacts } from "../settings/facts.js";
import { showFaults } from "../settings/settings.js";

export function start({ element, props, watch }) {
  const line = element.querySelector(".gac-notice");
  let isEarly = false; // it came while members were loading, which goes by
  onFacts(() => { if (isEarly && areReady()) line.hidden = true; });
  const draw = async () => {
    const notice = parseJson(props.value, null);
    isEarly = Boolean(notice?.passes) || !areReady();
    line.textContent = notice ? wordsOf(notice.field.replaceAll("_", " "), notice.message) : "";
    line.hidden = !notice || (await board).settle(notice.passes);
    if (notice?.passes) lookAgain();
    if (notice && notice.field !== "prompt") showFaults();
  };
  watch("value", draw);
  draw();
}

/** A sentence about the prompt, or a message after the name of its field. */
function wordsOf(name, message) {
  if (!name || name === "prompt") return sentence(name ? `${name}: ${message}` : message);
  const field = name[0].toUpperCase() + name.slice(1), whole = `${field}: ${message}`;
  return said(whole) === whole ? `${said(field)}: ${said(message)}` : said(whole);
}
