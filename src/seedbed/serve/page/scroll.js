/** Follow the reply while it is written, until the reader scrolls up; the Latest button, or the end, follows again. */

import { $ } from "./dom.js";

const NEAR = 60; // pixels from the end that count as being there
let [following, before] = [true, 0];

const left = () => document.documentElement.scrollHeight - innerHeight - scrollY;

/** After something was added. */
export function follow() {
  if (following) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  show();
}

export function jump() {
  following = true;
  follow();
}

function show() {
  $("#latest").hidden = following || left() < NEAR;
}

export function prepareScroll() {
  addEventListener("scroll", () => {
    if (left() < NEAR) following = true;
    else if (scrollY < before) following = false;
    before = scrollY;
    show();
  }, { passive: true });
  $("#latest").addEventListener("click", jump);
}
