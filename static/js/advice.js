// What would fit the members better than the settings do, under the line that sums them up.

const line = element.querySelector(".gac-advice");

function draw() {
  line.textContent = parseJson(props.value, "");
  line.hidden = !line.textContent;
}
watch("value", draw);
draw();
