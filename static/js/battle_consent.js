// The Arena's box for consent. `asked`: "off", or what it is about: that battles are kept, or that they are published.

/** Keep what the box says in the browser, where the prompt's box reads it too. */
function keepConsent(box, asked) {
  const kept = asked === "published" ? "gac.consent-published" : "gac.consent";
  const read = () => { box.checked = asked !== "off" && readKept(kept, false); };
  read();
  document.addEventListener("gac-consent", read);
  box.addEventListener("change", () => {
    writeKept(kept, box.checked);
    document.dispatchEvent(new Event("gac-consent"));
  });
}
