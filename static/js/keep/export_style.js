// How a run looks on paper and slides: light, by itself, in the colours and line styles of static/css/palette.css.

const EXPORT_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const EXPORT_LINES = ["solid", "dashed", "dotted", "double", "wavy", "solid"];
export const EXPORT_STYLE = `
.run { box-sizing: border-box; padding: 28px; background: #fff; color: #1a1c20; font: 15px/1.6 "IBM Plex Sans", system-ui, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
body { margin: 0; background: #fff; }
.run h1 { margin: 0; font-size: 21px; line-height: 1.35; white-space: pre-wrap; }
.run h2 { display: flex; align-items: center; gap: 8px; margin: 0; font-size: 15px; }
.run header p, .run .figures, .run .legend, .run footer { margin: 2px 0 10px; color: #5b606a; font-size: 12.5px; }
.run footer { margin: 14px 0 0; }
.turn { margin: 0 0 22px; padding: 0 0 22px; border-bottom: 1px solid #e2e2dc; }
.turn header { margin: 0 0 10px; }
.answers { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); align-items: start; }
.answer { min-width: 0; padding: 12px 16px; border: 1px solid #e2e2dc; border-radius: 10px; }
.answer .figures { margin: 0 0 6px; }
.text { line-height: 1.65; }
.run code { font-family: "IBM Plex Mono", ui-monospace, monospace; font-size: 0.9em; }
.swatch { display: inline-block; width: 16px; height: 0; vertical-align: 4px; }
.gac-changed { background: #ffc44d; }
.gac-asked { background: #fff5dc; }
.gac-forced { color: #5b606a; }
.swapped { outline: 1.5px solid #5b606a; border-radius: 3px; color: #1a1c20; }
${EXPORT_COLOURS.map((colour, i) => `
.swatch.w${i} { border-top: 3px ${EXPORT_LINES[i] === "wavy" ? "solid" : EXPORT_LINES[i]} ${colour}; }`).join("")}
${[1, 2, 3, 4, 5].map((level) => `.gac-doubt-${level} { background: rgb(138 79 216 / ${level * 11}%); }`).join("\n")}
.text :is(p, ul, ol, blockquote, pre) { margin: 0 0 0.7em; }
.text :is(li > p, li > ul, li > ol) { margin: 0; }
.text :is(p, li) { white-space: pre-line; unicode-bidi: plaintext; }
.text pre { padding: 8px 12px; background: #f0f0ec; border-radius: 6px; white-space: pre-wrap; }
.text blockquote { padding-inline-start: 12px; border-inline-start: 3px solid #b3b5b4; }
.text table { border-collapse: collapse; }
.text :is(th, td) { padding: 2px 10px; border: 1px solid #b3b5b4; }
.gac-code-head { font-size: 12px; color: #5b606a; }
`;
