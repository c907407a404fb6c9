// The choice of the view, and the way to the next change.

import { viewChoices, VIEWS } from "../answer/views.js";

export class Toolbar {
  /** `actions`: {onView(view), onNext()}. */
  constructor(views, next, actions) {
    this.views = views;
    this.next = next;
    views.replaceChildren(...viewChoices("gac-view", VIEWS, actions.onView));
    next.addEventListener("click", actions.onNext);
  }

  start(view) {
    this.views.querySelector(`[value=${view}]`).checked = true;
    this.next.disabled = true;
  }
}
