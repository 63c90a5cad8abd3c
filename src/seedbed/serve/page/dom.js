/** Elements, and the ways the page speaks to its reader. Text becomes text nodes: nothing here parses HTML. */

export const $ = (selector) => document.querySelector(selector);

/** An element with attributes, listeners (`onclick`) and children; false and null children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

/** Tell a screen reader, once: whole sentences, never the stream of tokens. */
export function announce(text, urgent = false) {
  $(urgent ? "#alert" : "#status").textContent = text;
}

let expiry;

/** A remark at the foot of the page, with a way back where there is one. */
export function toast(text, undo = null) {
  const box = $("#toast");
  const hide = () => (box.hidden = true);
  const back = undo && h("button", { type: "button", onclick: () => (hide(), undo()) }, "Undo");
  box.replaceChildren(text, back ?? "");
  box.hidden = false;
  clearTimeout(expiry);
  expiry = setTimeout(hide, undo ? 12_000 : 4_000);
  announce(undo ? `${text} Undo is at the end of the page.` : text);
}

/** Copy text. `navigator.clipboard` exists only on https and loopback addresses, hence the old way beside it. */
export async function copy(text, button) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyBySelection(text);
  button.textContent = "Copied";
  announce("Copied.");
  setTimeout(() => (button.textContent = "Copy"), 1_500);
}

function copyBySelection(text) {
  const area = document.body.appendChild(h("textarea", { class: "hidden", "aria-hidden": "true" }));
  area.value = text;
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Let a text area grow with what is in it. */
export function grow(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}
