/** Settings, the key, the list of shortcuts. Native dialogs: focus stays inside, Escape closes, focus returns. */

import { $ } from "./dom.js";

const SETTINGS = "seedbed.settings";
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

/** What the reader chose: `system`, `shortcuts`, and those numbers that are not left to the server. */
export function settings() {
  return { system: "", shortcuts: true, ...JSON.parse(localStorage.getItem(SETTINGS) ?? "{}") };
}

/** The settings that go into a request. */
export function parameters() {
  const chosen = settings();
  return Object.fromEntries(NUMBERS.filter((name) => name in chosen).map((name) => [name, chosen[name]]));
}

export function openSettings() {
  const form = $("#settings form");
  const { system, shortcuts, ...numbers } = settings();
  form.elements.system.value = system;
  form.elements.shortcuts.checked = shortcuts;
  for (const name of NUMBERS) form.elements[name].value = numbers[name] ?? "";
  $("#settings").showModal();
}

/** A value out of range is not kept: the browser says what is wrong when the form is sent. */
function keepSettings() {
  const { system, shortcuts, ...fields } = $("#settings form").elements;
  const kept = { system: system.value.trim(), shortcuts: shortcuts.checked };
  for (const name of NUMBERS) {
    const field = fields[name];
    if (field.value !== "" && field.validity.valid) kept[name] = field.valueAsNumber;
  }
  localStorage.setItem(SETTINGS, JSON.stringify(kept));
}

let asking = null;

/** Ask for the key; requests that wait at the same time share the answer. Resolves to null when it is not given. */
export function askForKey(wrong) {
  asking ??= new Promise((resolve) => {
    const [dialog, field] = [$("#key"), $("#key input")];
    $("#key-wrong").hidden = !wrong;
    field.value = dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "ok" ? field.value.trim() : null);
      asking = null;
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export const openShortcuts = () => $("#shortcuts").showModal();

export const dialogOpen = () => $("dialog[open]") !== null;

export function prepareDialogs() {
  $("#settings form").addEventListener("input", keepSettings);
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close("ok");
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
  $("#key button[value=cancel]").addEventListener("click", () => $("#key").close());
}
