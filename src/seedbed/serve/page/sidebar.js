/** The list of conversations: open, rename, export, delete; the drawer it becomes on a narrow page; the theme. */

import { $, h } from "./dom.js";
import { path, transcript } from "./store.js";

const THEMES = ["auto", "light", "dark"];

/** Draw the list. `act` does open, rename and remove. */
export function drawConversations(conversations, current, act) {
  const rows = conversations.map((one) => (one.id === current.id ? currentRow(one, act) : row(one, act)));
  $("#conversations").replaceChildren(...rows);
}

function row(one, act) {
  const open = () => act.open(one.id);
  return h("li", {}, h("button", { type: "button", class: "conversation", onclick: open }, one.title));
}

function currentRow(one, act) {
  const open = { onclick: () => act.open(one.id), "aria-current": "true" }; // closes the drawer
  const title = h("button", { type: "button", class: "conversation", ...open }, one.title);
  const button = (name, does) => h("button", { type: "button", class: "quiet", onclick: does }, name);
  const buttons = [
    button("Rename", () => rename(one, title, act)),
    button("Export", () => download(one)),
    button("Delete", () => act.remove(one)),
  ];
  return h("li", { class: "current" }, title, h("div", { class: "row" }, ...buttons));
}

/** Enter and leaving the field keep the new title, Escape does not. */
function rename(one, title, act) {
  const field = h("input", { "aria-label": "Title", maxlength: "120" });
  let over = false; // the field goes with the redraw, which takes its focus and must not rename again
  const finish = (text) => {
    if (over) return;
    over = true;
    act.rename(text || one.title);
  };
  field.value = one.title;
  field.addEventListener("blur", () => finish(field.value.trim()));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") finish(field.value.trim());
    if (event.key === "Escape") finish(one.title);
  });
  title.replaceWith(field);
  field.select();
}

/** A JSON file: the messages that are shown, in the API's form, and the whole tree of versions. */
function download(one) {
  const file = { title: one.title, created: one.created, messages: transcript(path(one)), versions: one.children };
  const address = URL.createObjectURL(new Blob([JSON.stringify(file, null, 2)], { type: "application/json" }));
  const name = one.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "conversation";
  h("a", { href: address, download: `${name}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function openDrawer(open) {
  document.body.classList.toggle("drawer", open);
  $("#menu").setAttribute("aria-expanded", open);
  if (open) $("#new").focus();
}

export function prepareSidebar() {
  $("#menu").addEventListener("click", () => openDrawer(!document.body.classList.contains("drawer")));
  $("#shade").addEventListener("click", () => openDrawer(false));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !document.body.classList.contains("drawer")) return;
    openDrawer(false);
    $("#menu").focus();
  });
  $("#theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
  });
  setTheme(document.documentElement.dataset.theme);
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("seedbed.theme", name);
  $("#theme").textContent = `Theme: ${name}`;
}
