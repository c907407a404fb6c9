// The board of the Compare tab, fed by its component's value once per animation frame.

const board = new Board(element.querySelector(".gac-board"));
const update = oncePerFrame(() => {
  board.reader.feed(props.value ?? "");
  board.flush();
});
watch("value", update);
update();

listenToEnter(board);
openFromAddress(board);

// What the other parts of the page need of the board.
const focusPrompt = () => document.querySelector("#gac-prompt textarea")?.focus({ preventScroll: true });
Object.assign(window.gac, {
  visitorKey,
  focusPrompt,
  stop: () => board.stop(),
  clear: () => board.clear(),
  expect: () => board.expect(),
  settle: () => { board.isBusy = false; showInAddress(board.run?.id); board.refresh(true); },
  showCompare: () => board.painter.show(board.root.dataset.view), // another tab may have painted in another view
  isShowing: (runId) => board.run?.id === runId,
  /** Before a prompt's run: a blank one ends nothing, and the focus stays in the box. */
  async beforeRun(prompt) {
    if (!String(prompt ?? "").trim()) return;
    if (matchMedia("(pointer: fine)").matches) focusPrompt();
    await board.clear();
    board.expect();
  },
});
