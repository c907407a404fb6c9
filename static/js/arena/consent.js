// Whether battles are kept or published, which a box under the prompt asks. The browser keeps the answer.

import { readKept, writeKept } from "../page/browser.js";

const KEYS = { published: "gac.consent-published", kept: "gac.consent" };

/** Another visitor comes, who has not been asked. */
export function forgetConsent() {
  for (const key of Object.values(KEYS)) writeKept(key, false);
}

/** `asked`: "off", or what it is about: "kept" or "published". */
export function keepConsent(box, asked) {
  const key = KEYS[asked] ?? KEYS.kept, read = () => { box.checked = asked !== "off" && readKept(key, false); };
  read();
  addEventListener("storage", read); // in another tab
  box.addEventListener("change", () => writeKept(key, box.checked));
}
