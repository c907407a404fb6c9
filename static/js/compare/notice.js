// What went wrong with a request, in words, under the prompt.

import { board } from "./compare.js";
import { parseJson } from "../page/browser.js";
import { lookAgain } from "../page/members.js";
import { said } from "../page/words.js";
import { areReady, onFacts } from "../settings/facts.js";
import { showFaults } from "../settings/settings.js";

export function start({ element, props, watch }) {
  const line = element.querySelector(".gac-notice");
  let isEarly = false; // it came while members were loading, which goes by
  onFacts(() => { if (isEarly && areReady()) line.hidden = true; });
  const draw = async () => {
    const notice = parseJson(props.value, null);
    isEarly = Boolean(notice?.passes) || !areReady();
    line.textContent = said(notice?.error);
    line.hidden = !notice || (await board).settle(notice.passes);
    if (notice?.passes) lookAgain();
    if (notice && notice.field !== "prompt") showFaults();
  };
  watch("value", draw);
  draw();
}
