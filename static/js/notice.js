// What went wrong with a request, in words, under the prompt.

const line = element.querySelector(".gac-notice");

/** A message goes on from "The prompt", or stands after the name of its field. */
function wordsOf(name, message) {
  if (!name) return said(message);
  if (name === "prompt") return said(`The prompt ${message}`);
  const field = name[0].toUpperCase() + name.slice(1), whole = `${field}: ${message}`;
  return said(whole) === whole ? `${said(field)}: ${said(message)}` : said(whole);
}

function draw() {
  const notice = parseJson(props.value, null);
  line.hidden = !notice;
  line.textContent = notice ? wordsOf(notice.field.replaceAll("_", " "), notice.message) : "";
  if (!notice) return;
  window.gac.settle();
  if (notice.field !== "prompt") window.gac.showFaults?.();
}
watch("value", draw);
draw();
