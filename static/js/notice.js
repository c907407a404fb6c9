// What went wrong with a request, in words, under the prompt.

const line = element.querySelector(".gac-notice");

function draw() {
  const notice = parseJson(props.value, null);
  line.hidden = !notice;
  const field = notice?.field && notice.field !== "prompt" ? `${notice.field.replaceAll("_", " ")}: ` : "";
  line.textContent = notice ? field + notice.message : "";
  if (notice) window.gac.settle();
}
watch("value", draw);
draw();
