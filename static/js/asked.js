// What stands above the answers: the prompt, where a branch comes from, and the way to run it again.

/** `ask(event, fields)` starts something. */
function askedParts(run, ask) {
  const act = (text, title, onclick) => h("button", { type: "button", class: "gac-icon", text, title, onclick });
  return [
    h("h2", { dir: "auto", text: run.prompt }),
    act("Run again", "Run this prompt again with the same settings", () => ask("rerun", { run: run.id })),
    run.parent ? h("p", { class: "gac-small gac-of-branch" }, `Branched at token ${run.branch_position + 1} of an earlier run. `,
      act("Open the original", "Show the run that this one branched from", () => ask("open", { run: run.parent }))) : null,
    h("p", { class: "gac-small gac-ran-with", text: `Settings of this run: ${run.settings}`, hidden: true }),
  ].filter(Boolean);
}

/** A run made with other settings than those that stand under the prompt says so. */
function tellSettings(root, run) {
  const line = root.querySelector(".gac-ran-with"), next = document.querySelector(".gac-summary-text")?.textContent;
  if (line && run) line.hidden = next === run.settings;
}
