/** One message on the page: its text, its versions, what can be done with it, and what its reply cost. */

import { answerRemarks, renderAnswer } from "./answer.js";
import { renderTokens } from "./confidence.js";
import { copy, grow, h } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

const ENDINGS = {
  length: "Cut off at the limit of tokens: raise “Most tokens in a reply” in Settings, or ask it to go on.",
  stopped: "Stopped.",
};
const UNFINISHED = "The page was closed before this reply was complete.";

/**
 * The view of `node`, one of `siblings` at `place` in the conversation.
 * `shown` says { running, confidence }; `act` does choose, edit, regenerate and cut.
 */
export function messageView(node, siblings, place, shown, act) {
  const who = node.role === "user" ? "You" : node.model || "Model";
  const body = h("div", { class: "body", dir: "auto" });
  const notes = h("div", { class: "notes" });
  const element = h("article", { class: `message ${node.role}`, "aria-label": who }, body, notes);
  const update = () => {
    if (node.role === "user") body.textContent = node.text;
    else if (shown.confidence && node.tokens?.length) renderTokens(body, node.tokens);
    else if (node.answer?.sources) renderAnswer(body, node, shown.running);
    else renderMarkdown(body, node.draft ?? node.text);
  };
  update();
  element.classList.toggle("running", shown.running);
  if (!shown.running) {
    notes.append(...remarks(node));
    element.append(footer(node, siblings, place, element, act));
  }
  return { element, update };
}

function remarks(node) {
  if (node.role === "user") return [];
  const words = node.loop ? looped(node.loop) : node.finish || node.error ? ENDINGS[node.finish] : UNFINISHED;
  const failure = node.error && h("p", { class: "error" }, node.error);
  const below = node.answer?.sources ? answerRemarks(node.answer) : [];
  return [...below, failure, words && h("p", { class: "remark" }, words)].filter(Boolean);
}

/** The words of the terminal. */
function looped({ period, times }) {
  const what = period === 1 ? "one token" : `${period} tokens`;
  return `The reply was stopped: it had repeated ${what} ${times} times in a row. The conversation keeps the first.`;
}

function footer(node, siblings, place, element, act) {
  const button = (name, does, label = null) => {
    const key = `${place} ${name}`; // where the focus goes back to after a redraw
    return h("button", { type: "button", class: "quiet", "data-key": key, "aria-label": label, onclick: does }, name);
  };
  const copying = button("Copy", () => copy(node.text, copying));
  const mine = node.role === "user";
  const again = node.error ? "Try again" : "Regenerate";
  return h(
    "footer",
    {},
    siblings.length > 1 && versions(siblings, siblings.indexOf(node), button, act),
    node.text && copying,
    mine ? button("Edit", () => edit(node, element, act)) : button(again, () => act.regenerate(node)),
    button("Delete", () => act.cut(node), "Delete this message and what follows it"),
    !mine && h("span", { class: "facts" }, facts(node)),
  );
}

function versions(siblings, at, button, act) {
  const turn = (name, by, label) => {
    const turning = button(name, () => act.choose(siblings[at + by]), label);
    turning.disabled = !siblings[at + by];
    return turning;
  };
  const turns = [turn("‹", -1, "Previous version"), `${at + 1}/${siblings.length}`, turn("›", 1, "Next version")];
  return h("span", { class: "versions", role: "group", "aria-label": "Versions" }, ...turns);
}

/** "42 tokens · 31 tokens/s · first after 0.21 s" */
function facts({ stats }) {
  if (!stats?.tokens) return "";
  const rate = stats.rate && `${stats.rate.toFixed(stats.rate < 10 ? 1 : 0)} tokens/s`;
  const tokens = `${stats.tokens} ${stats.tokens === 1 ? "token" : "tokens"}`;
  return [tokens, rate, `first after ${stats.first.toFixed(2)} s`].filter(Boolean).join(" · ");
}

/** Put a text area in the message's place; Enter or Send asks from there again, Escape leaves it as it was. */
export function edit(node, element, act) {
  const area = h("textarea", { rows: "1", "aria-label": "Edit your message" });
  area.value = node.text;
  const send = () => area.value.trim() && act.edit(node, area.value.trim());
  area.addEventListener("input", () => grow(area));
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") act.cancel(event);
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), send();
  });
  const buttons = [
    h("button", { type: "button", onclick: act.cancel }, "Cancel"),
    h("button", { type: "button", class: "primary", onclick: send }, "Send"),
  ];
  element.classList.add("editing");
  element.replaceChildren(area, h("div", { class: "actions" }, ...buttons));
  grow(area);
  area.focus();
}
