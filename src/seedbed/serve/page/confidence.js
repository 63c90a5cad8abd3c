/**
 * Token confidence: a reply as the model wrote it, token by token, each marked by its probability.
 *
 * Shown as plain text, not as Markdown: then every token is there, line breaks and asterisks too. The mark is a colour
 * and an underline that thickens, so that it does not need colour. Hover, focus or arrow keys show the alternatives.
 */

import { $, h } from "./dom.js";

const LEVELS = [0.9, 0.6, 0.3, 0.1];

/** Collects the log-probabilities of a stream: `[text, logprob, [[text, logprob], …]]` for each token. */
export class TokenReader {
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #waiting = null;

  /** A character that is cut into several tokens becomes one entry, as probable as all of them together. */
  read(entries) {
    const tokens = [];
    for (const { token, bytes, logprob, top_logprobs: top } of entries) {
      const text = bytes ? this.#decoder.decode(new Uint8Array(bytes), { stream: true }) : token;
      const before = this.#waiting ?? ["", 0, (top ?? []).map((other) => [other.token, rounded(other.logprob)])];
      const entry = [text, rounded(before[1] + logprob), before[2]];
      this.#waiting = text ? null : entry;
      if (text) tokens.push(entry);
    }
    return tokens;
  }

  /** What a reply that ends within a character leaves. */
  end() {
    const text = this.#decoder.decode();
    return this.#waiting ? [[text, ...this.#waiting.slice(1)]] : [];
  }
}

// JSON has no -Infinity; four digits are enough for a per cent, and the browser's storage is small.
const rounded = (logprob) => Math.round(Math.max(logprob, -99) * 1e4) / 1e4;

/** Show tokens in `target`; those that are there already stay. One tab stop, arrow keys inside. */
export function renderTokens(target, tokens) {
  if (!target.classList.contains("tokens")) prepare(target);
  for (let at = target.children.length; at < tokens.length; at += 1) {
    const [text, logprob] = tokens[at];
    const attributes = { class: "token", "data-level": level(logprob), tabindex: at ? "-1" : "0" };
    const element = h("span", attributes, text);
    if (!text.replace(HIDDEN, "")) element.dataset.sign = visible(text); // drawn, to have something to point at
    element.seedbedToken = tokens[at];
    target.append(element);
  }
}

function level(logprob) {
  const passed = LEVELS.findIndex((limit) => Math.exp(logprob) >= limit);
  return passed < 0 ? LEVELS.length : passed;
}

function prepare(target) {
  target.classList.add("tokens");
  target.setAttribute("role", "group");
  target.setAttribute("aria-label", "Reply, token by token; arrow keys move");
  for (const type of ["pointerover", "focusin"]) target.addEventListener(type, (event) => peekAt(event.target));
  for (const type of ["pointerleave", "focusout"]) target.addEventListener(type, hideSoon);
  target.addEventListener("keydown", walk);
}

function walk(event) {
  const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
  const next = step && event.target[step];
  if (!next) return;
  event.preventDefault();
  event.target.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}

let [peeked, hiding] = [null, 0];

function peekAt(element) {
  if (!element.seedbedToken) return;
  hidePeek();
  peeked = element;
  element.setAttribute("aria-describedby", "peek");
  const [text, logprob, top] = element.seedbedToken;
  const peek = $("#peek");
  peek.replaceChildren(h("p", {}, h("code", {}, visible(text)), ` ${percent(logprob)}`), alternatives(text, top));
  peek.hidden = false;
  place(peek, [...element.getClientRects()].at(-1)); // the last line of it: a token may begin with a line break
}

function alternatives(text, top) {
  const rows = top.map(([other, logprob]) => {
    const bar = h("i");
    bar.style.setProperty("--share", Math.exp(logprob));
    const chosen = { class: other === text ? "chosen" : null };
    return h("li", chosen, h("code", {}, visible(other)), bar, h("span", {}, percent(logprob)));
  });
  return h("ol", { "aria-label": "Most probable here" }, ...rows);
}

function place(peek, spot) {
  const room = document.documentElement.clientWidth - peek.offsetWidth - 8;
  const above = spot.top > peek.offsetHeight + 12;
  peek.style.left = `${Math.max(8, Math.min(spot.left, room)) + scrollX}px`;
  peek.style.top = `${(above ? spot.top - peek.offsetHeight - 6 : spot.bottom + 6) + scrollY}px`;
}

const HIDDEN = /[\s\p{C}]/gu;
const SIGNS = { " ": "␣", "\n": "↵", "\t": "⇥" };

/** White space and control characters one can see. */
function visible(text) {
  const sign = (one) => SIGNS[one] ?? `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return text.replace(HIDDEN, sign) || "(nothing)";
}

function percent(logprob) {
  const share = 100 * Math.exp(logprob);
  return share < 0.1 ? "< 0.1 %" : `${share.toFixed(share < 99.95 ? 1 : 0)} %`;
}

export function hidePeek() {
  clearTimeout(hiding);
  peeked?.removeAttribute("aria-describedby");
  $("#peek").hidden = true;
}

/** A moment of grace, in which the pointer can move onto the box to read it. */
function hideSoon() {
  clearTimeout(hiding);
  hiding = setTimeout(hidePeek, 200);
}

$("#peek").addEventListener("pointerenter", () => clearTimeout(hiding));
$("#peek").addEventListener("pointerleave", hideSoon);
