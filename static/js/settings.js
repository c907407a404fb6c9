// The settings panel and the button under the prompt that opens it and sums the settings up.

let panel = null;

const check = (values, at) => onLoaded(() => trigger('changed', { values, at }));

function draw() {
  const value = parseJson(props.value, null);
  if (!value) return;
  if (!panel && value.spec) panel = new SettingsPanel(element.querySelector(".gac-settings"), value, check);
  if (!value.at || !panel?.tell(value)) return;
  window.gac.tellSummary?.(value);
}
watch("value", draw);
draw();

Object.assign(window.gac, {
  settings: () => panel?.changes() ?? {},
  checkSettings: () => panel?.ask(),
  openSettings: (opener, name) => panel?.open(opener, name),
  openMember: (opener, name) => panel?.openMember(opener, name),
  showFaults: () => panel?.showFaults(),
});
