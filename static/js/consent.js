// Under the prompt: whether what the visitor does here is published. The server is told when that changes, and whenever
// the page loads: it forgets, and finds again what the mirror has of the visitor.

const PUBLISHED = "gac.consent-published", box = element.querySelector("input"); // the Arena's key too
const read = () => { box.checked = readKept(PUBLISHED, false); };

async function tell() {
  const reply = await answerTo(server.set_consent({ key: visitorKey(), consents: box.checked }));
  if (reply.error) box.checked = !box.checked; // nothing has changed there
  writeKept(PUBLISHED, box.checked);
}

box.addEventListener("change", async () => {
  await tell();
  document.dispatchEvent(new Event("gac-consent"));
});
document.addEventListener("gac-consent", async () => {
  const before = box.checked;
  read();
  if (box.checked !== before) await tell();
});
read();
tell();
