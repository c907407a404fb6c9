// One's own questions or prompts, pasted or from a file that the browser reads: nothing is uploaded.

/** Let a file picker fill a text box; `say` tells what does not fit. */
function fillFromFile(picker, box, maxChars, say) {
  picker.addEventListener("change", async () => {
    const [file] = picker.files;
    picker.value = ""; // the same file may be chosen again
    if (!file) return;
    if (file.size > 4 * maxChars) return say(`${file.name} is too large; at most ${maxChars.toLocaleString()} characters are taken.`);
    const text = await file.text();
    if (text.length > maxChars) return say(`${file.name} has ${text.length.toLocaleString()} characters; at most ${maxChars.toLocaleString()} are taken.`);
    say("");
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
