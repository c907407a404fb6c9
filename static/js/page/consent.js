// Whether what the visitor does here is published, in the box under the prompt and in the Arena's. Where nothing is
// published, the Arena's asks whether battles are kept.

import { answerTo, readKept, visitorKey, writeKept } from "./browser.js";

const CHANGED = "storage"; // an event, as other tabs get it: one box has been ticked, and the others follow
const KEYS = { published: "gac.consent-published", kept: "gac.consent" };

let visitors = 1;

/** Another visitor comes, who has not been asked. */
export function forgetConsent() {
  visitors += 1;
  for (const key of Object.values(KEYS)) writeKept(key, false);
}

/** The Arena's box. `asked`: "off", or what it is about: "kept" or "published". */
export function keepConsent(box, asked) {
  const key = KEYS[asked] ?? KEYS.kept, read = () => { box.checked = asked !== "off" && readKept(key, false); };
  read();
  addEventListener(CHANGED, read);
  box.addEventListener("change", () => {
    writeKept(key, box.checked);
    dispatchEvent(new Event(CHANGED));
  });
}

/** The box under the prompt. The server is told when it changes, and whenever the page loads: it forgets, and finds again
 * what the mirror has of the visitor. */
export function start({ element, server }) {
  const box = element.querySelector("input"), read = () => { box.checked = readKept(KEYS.published, false); };
  const tell = async (before) => {
    const visitor = visitors;
    const reply = await answerTo(server.set_consent({ key: visitorKey(), consents: box.checked }));
    if (reply.error) box.checked = before ?? box.checked; // nothing has changed there
    if (visitor === visitors) writeKept(KEYS.published, box.checked);
  };
  box.addEventListener("change", async () => {
    await tell(!box.checked);
    dispatchEvent(new Event(CHANGED));
  });
  addEventListener(CHANGED, async ({ key }) => {
    const before = box.checked;
    read();
    if (!key && box.checked !== before) await tell(before); // with a key, another tab has told
  });
  read();
  tell();
}
