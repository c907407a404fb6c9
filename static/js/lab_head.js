// The head of the result that is looked at: what it is, what follows from it, and its files.

const PNG_SCALE = 2;
const root = element.querySelector(".gac-lab-head");

function draw() {
  const result = parseJson(props.value, null);
  root.hidden = !result;
  if (!result) return root.replaceChildren();
  if (result.error) return root.replaceChildren(h("p", { class: "is-error", role: "alert", text: said(result.error) }));
  const when = moment(result.created_at);
  const note = h("p", { class: "is-error", role: "alert" });
  root.replaceChildren(
    h("header", {},
      h("h2", { text: result.name || `${window.gac.studyTitle(result.study)}: ${result.heading}` }),
      h("p", { class: "gac-small", text: [window.gac.studyTitle(result.study), result.heading, when, result.members.join(", ")].join(" · ") }),
      h("div", { class: "gac-lab-exports" }, ...exportsOf(result, note))),
    note,
    ...result.remarks.map((remark) => h("p", { text: remark })),
    result.has_plot ? h("p", { class: "gac-small", text: t("lab.charts") }) : null);
  root.focus({ preventScroll: true });
  root.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

function exportsOf(result, note) {
  const button = (text, make) => h("button", { type: "button", class: "gac-button", text, "aria-label": t("lab.export", { format: text }), onclick: make });
  const saveText = (ending, type, text) => () => download(new Blob([text], { type }), `${result.id}.${ending}`);
  const picture = (finish) => async () => {
    const reply = await answerTo(server.lab_picture({ key: visitorKey(), result: result.id }));
    note.textContent = said(reply.error);
    if (!reply.error) finish(reply.svg);
  };
  return [
    button("CSV", saveText("csv", "text/csv", result.csv)),
    button("JSON", saveText("json", "application/json", result.json)),
    ...(result.has_plot ? [
      button("SVG", picture((svg) => saveText("svg", "image/svg+xml", svg)())),
      button("PNG", picture((svg) => savePng(`${result.id}.png`, svg))),
    ] : []),
  ];
}

/** An image runs no script, whatever stands in the picture. */
function savePng(name, svg) {
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: image.naturalWidth * PNG_SCALE, height: image.naturalHeight * PNG_SCALE });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => download(blob, name), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

watch("value", draw);
draw();
