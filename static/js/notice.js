// What went wrong with a request, in words, under the prompt.

const line = element.querySelector(".gac-notice");

function draw() {
  const notice = parseJson(props.value, null);
  line.hidden = !notice;
  // The messages about a prompt go on from the words "The prompt".
  const name = notice?.field.replaceAll("_", " ");
  const field = name && name !== "prompt" ? `${name[0].toUpperCase()}${name.slice(1)}: ` : "";
  line.textContent = notice ? (name === "prompt" ? said(`The prompt ${notice.message}`) : said(field + notice.message)) : "";
  if (!notice) return;
  window.gac.settle();
  if (notice.field !== "prompt") window.gac.showFaults?.();
}
watch("value", draw);
draw();
