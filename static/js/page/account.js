// Who is signed in. Signing in and out are the host's, on addresses of Gradio's; both end on a page loaded anew.

import { answerTo, BATTLE, takenFromAddress, writeKeptHere } from "./browser.js";
import { forgetConsent } from "../arena/consent.js";
import { closeOnLeaving } from "./elements.js";
import { t } from "./words.js";

const MAX_TIMER_S = 2_000_000; // of a browser's timers

export function start({ element, server }) {
  const menu = element.querySelector("details"), button = menu.querySelector("button"), note = element.querySelector(".gac-account-note");
  let isSignedIn = false;
  const show = async () => {
    const reply = await answerTo(server.who_is_signed_in({}));
    if (reply.error) return;
    if (isSignedIn && !reply.is_signed_in) note.textContent = t("account.over");
    isSignedIn = reply.is_signed_in;
    menu.querySelector("bdi").textContent = isSignedIn ? reply.name || t("account.signed-in") : t("account.sign-in");
    menu.querySelector("summary").title = isSignedIn ? t("account.signed-in") : "";
    button.textContent = t(isSignedIn ? "account.sign-out" : "account.sign-in-with");
    menu.hidden = false;
    if (reply.left_s !== null) setTimeout(show, 1000 * Math.min(reply.left_s + 1, MAX_TIMER_S));
  };
  button.addEventListener("click", () => {
    button.disabled = true;
    leave(isSignedIn);
  });
  closeOnLeaving(menu);
  if (takenFromAddress("sign-in") === "failed") note.textContent = t("account.failed");
  show();
}

function leave(isSignedIn) {
  writeKeptHere(BATTLE, ""); // the battle shown last is not the other visitor's
  forgetConsent();
  window.parent?.postMessage({ type: "SET_SCROLLING", enabled: true }, "*"); // to huggingface.co, if that shows the page in a frame
  location.assign(`${isSignedIn ? "/logout" : "/login/huggingface"}?_target_url=/`);
}
