// Asks before something is gone for good.

/** Whether it is to be deleted. */
export function confirmed(dialog, title, text) {
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("p").textContent = text;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener("close", () => answer(dialog.returnValue === "delete"), { once: true }));
}
