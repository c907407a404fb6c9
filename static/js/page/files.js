// One's own questions or prompts, pasted or from a file that the browser reads: nothing is uploaded.

import { t } from "./words.js";

/** Let a file picker fill a text box; `say` tells what does not fit. */
export function fillFromFile(picker, box, maxChars, say) {
  picker.addEventListener("change", async () => {
    const [file] = picker.files;
    picker.value = ""; // the same file may be chosen again
    if (!file) return;
    if (file.size > 4 * maxChars) return say(t("file.too-large", { file: file.name, most: maxChars }));
    const text = await file.text();
    if (text.length > maxChars) return say(t("file.too-long", { file: file.name, count: text.length, most: maxChars }));
    say("");
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
