// One's own questions or prompts, pasted or from a file that the browser reads: nothing is uploaded.

import { t } from "./words.js";

/** Let a file picker fill a text box; `say` tells what does not fit. */
export function fillFromFile(picker, box, maxChars, say) {
  picker.addEventListener("change", async () => {
    const [file] = picker.files;
    picker.value = ""; // the same file may be chosen again
    if (!file) return;
    const text = file.size > 4 * maxChars ? null : await file.text();
    if (text === null || text.length > maxChars) return say(t("file.too-large", { file: file.name, most: maxChars }));
    say("");
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
