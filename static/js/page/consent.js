// Whether what the visitor does here is published, in the box under the prompt and in the Arena's. Where nothing is
// published, the Arena's asks whether battles are kept.

import { answerTo, readKept, visitorKey, writeKept } from "./browser.js";

const CHANGED = "gac-consent"; // an event: one box has been ticked, and the other follows
const KEYS = { published: "gac.consent-published", kept: "gac.consent" };

/** The Arena's box. `asked`: "off", or what it is about: "kept" or "published". */
export function keepConsent(box, asked) {
  const key = KEYS[asked] ?? KEYS.kept, read = () => { box.checked = asked !== "off" && readKept(key, false); };
  read();
  document.addEventListener(CHANGED, read);
  box.addEventListener("change", () => {
    writeKept(key, box.checked);
    document.dispatchEvent(new Event(CHANGED));
  });
}

/** The box under the prompt. The server is told when it changes, and whenever the page loads: it forgets, and finds again
 * what the mirror has of the visitor. */
export function start({ element, server }) {
  const box = element.querySelector("input"), read = () => { box.checked = readKept(KEYS.published, false); };
  const tell = async (before) => {
    const reply = await answerTo(server.set_consent({ key: visitorKey(), consents: box.checked }));
    if (reply.error) box.checked = before ?? box.checked; // nothing has changed there
    writeKept(KEYS.published, box.checked);
  };
  box.addEventListener("change", async () => {
    await tell(!box.checked);
    document.dispatchEvent(new Event(CHANGED));
  });
  document.addEventListener(CHANGED, async () => {
    const before = box.checked;
    read();
    if (box.checked !== before) await tell(before);
  });
  read();
  tell();
}
