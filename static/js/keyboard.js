// Keys that work anywhere on the Compare tab, except while somebody types.

function listenToKeys(element, { onGated, onClose, onVote }) {
  document.addEventListener("keydown", (event) => {
    if (!element.isConnected || !element.offsetParent || event.defaultPrevented) return;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape" && onClose()) {
      event.preventDefault();
      return;
    }
    if (event.target.closest?.("input:not([type=radio]), textarea, select, [contenteditable], dialog")) return;
    const isDone = event.key.toLowerCase() === "n" ? onGated(event.shiftKey ? -1 : 1) : !event.repeat && onVote(event.key);
    if (isDone) event.preventDefault();
  });
}
