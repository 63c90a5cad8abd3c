/** The chat page: which conversation is shown, one reply at a time, and what keys and buttons do. */

import { listCollections, listModels, takeKeyFromAddress } from "./api.js";
import { hidePeek } from "./confidence.js";
import { askForKey, dialogOpen, openSettings, openShortcuts, prepareDialogs, settings } from "./dialogs.js";
import { $, announce, grow, h, toast } from "./dom.js";
import { edit, messageView } from "./message.js";
import { receive } from "./reply.js";
import { follow, jump, prepareScroll } from "./scroll.js";
import { drawConversations, openDrawer, prepareSidebar } from "./sidebar.js";
import * as store from "./store.js";

const MODEL = "seedbed.model";
const DOCUMENTS = "seedbed.documents";
const CONFIDENCE = "seedbed.confidence";
const input = $("#input");
let current = store.newConversation();
let running = null; // { conversation, node, controller, done } while a reply is written
let writing = null; // the view of that reply, when it is on the page
let loading = null; // the list of models, on its way or here

// What is shown

function draw() {
  hidePeek();
  const focus = document.activeElement?.dataset.key;
  const nodes = store.path(current);
  const views = nodes.map(view);
  writing = views[nodes.indexOf(running?.node)] ?? null;
  $("#thread").replaceChildren(...views.map((view) => view.element));
  $("#welcome").hidden = nodes.length > 0;
  $("#title").textContent = current.title || "New conversation";
  document.title = current.title ? `${current.title} · seedbed` : "seedbed";
  showState();
  drawConversations(store.list(), current, lists);
  if (focus) ($(`[data-key="${focus}"]`) ?? input).focus();
  follow();
}

function showState() {
  $("#send").textContent = running ? "Stop" : "Send";
  $("#composer").classList.toggle("busy", running !== null);
}

function view(node, place) {
  const shown = { running: node === running?.node, confidence: localStorage.getItem(CONFIDENCE) === "on" };
  return messageView(node, parentOf(node).children, place, shown, act);
}

/** Redraw the one message whose reply is complete: another one may be in the middle of an edit. */
function settle(node) {
  const place = store.path(current).indexOf(node);
  if (place >= 0) $("#thread").children[place].replaceWith(view(node, place).element);
  writing = null;
  showState();
  follow();
}

function open(conversation) {
  current = conversation;
  openDrawer(false);
  draw();
  jump();
  input.focus();
}

function keep(conversation) {
  conversation.updated = Date.now();
  if (!store.save(conversation)) toast("This browser's storage is full: export or delete conversations.");
}

/** As it is kept; an empty one when another tab deleted it. */
const stored = (id) => store.load(id) ?? store.newConversation();

const lists = {
  open: (id) => open((running?.conversation.id === id && running.conversation) || stored(id)),
  rename(title) {
    current.title = title;
    keep(current);
    draw();
  },
  async remove(conversation) {
    if (running?.conversation.id === conversation.id) await stop();
    const kept = store.load(conversation.id);
    store.remove(conversation.id);
    open(store.newConversation());
    toast("Conversation deleted.", () => (store.save(kept), open(kept)));
  },
};

// Asking and answering

async function send(text) {
  if (!current.children.length) current.title = text.split("\n")[0].slice(0, 60);
  await reply(store.add(store.path(current).at(-1) ?? current, { role: "user", text }));
}

/** Ask for a reply to `parent` in the current conversation, and show it as it comes. */
async function reply(parent) {
  await loading; // a message may be sent before the models are known
  if (!$("#model").value) await load();
  await stop();
  const conversation = current;
  const messages = store.transcript(store.path(conversation), settings().system);
  const asked = { model: $("#model").value, documents: JSON.parse($("#documents").value || "null") };
  const node = store.add(parent, { role: "assistant", text: "", tokens: [], ...asked });
  const controller = new AbortController();
  running = { conversation, node, controller, done: receive(node, messages, controller.signal, repaint) };
  keep(conversation);
  draw();
  jump();
  announce("The model is writing.");
  await running.done;
  running = null;
  keep(conversation);
  settle(node);
  announce(node.error ?? `Reply: ${node.text}`, Boolean(node.error));
}

let frame = 0;

/** At most once a frame, however fast tokens come. */
function repaint() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    writing?.update();
    follow();
  });
}

async function stop() {
  running?.controller.abort();
  await running?.done;
}

const parentOf = (node) => [current, ...store.path(current)].find((parent) => parent.children.includes(node));

const act = {
  choose(node) {
    const parent = parentOf(node);
    parent.chosen = parent.children.indexOf(node);
    keep(current);
    draw();
  },
  async edit(node, text) {
    await stop();
    input.focus();
    await reply(store.add(parentOf(node), { role: "user", text }));
  },
  async regenerate(node) {
    const parent = parentOf(node);
    await stop();
    input.focus();
    await reply(parent);
  },
  async cut(node) {
    if (running?.conversation === current) await stop();
    const before = structuredClone(current);
    store.cut(parentOf(node), node);
    keep(current);
    draw();
    toast("Message deleted.", () => (keep(before), open(before)));
  },
  cancel(event) {
    event.stopPropagation();
    draw();
    input.focus();
  },
};

// Keys and buttons

function submit(event) {
  event.preventDefault();
  if (running) return void stop();
  const text = input.value.trim();
  if (!text) return;
  input.value = "";
  grow(input);
  send(text);
}

function editLast() {
  const place = store.path(current).findLastIndex((node) => node.role === "user");
  if (place >= 0) edit(store.path(current)[place], $("#thread").children[place], act);
}

function onInputKey(event) {
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    if (!running) $("#composer").requestSubmit();
  } else if (event.key === "ArrowUp" && !input.value && !running) {
    event.preventDefault();
    editLast();
  }
}

const newChat = () => open(store.newConversation());
const SINGLE = { "?": openShortcuts, "/": () => input.focus(), n: newChat, c: toggleConfidence };

function onKey(event) {
  if (dialogOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    hidePeek();
    stop();
  } else if (settings().shortcuts && !event.target.closest("input, textarea, select") && SINGLE[event.key]) {
    event.preventDefault();
    SINGLE[event.key]();
  }
}

function toggleConfidence() {
  localStorage.setItem(CONFIDENCE, localStorage.getItem(CONFIDENCE) === "on" ? "off" : "on");
  showConfidence();
  draw();
}

function showConfidence() {
  const on = localStorage.getItem(CONFIDENCE) === "on";
  $("#confidence").setAttribute("aria-pressed", on);
  $("#legend").hidden = !on;
}

const load = () => (loading = loadModels());

async function loadModels() {
  const [select, notice] = [$("#model"), $("#notice")];
  notice.hidden = true;
  try {
    const ids = await listModels(askForKey);
    if (!ids.length) throw new Error("This server has no model yet. Train or pull one, then load the models again.");
    select.replaceChildren(...ids.map((id) => h("option", { value: id }, id)));
    if (ids.includes(localStorage.getItem(MODEL))) select.value = localStorage.getItem(MODEL);
    await loadCollections();
  } catch (error) {
    const again = h("button", { type: "button", onclick: load }, "Load the models");
    notice.replaceChildren(h("p", {}, error.message), again);
    notice.hidden = false;
    announce(error.message, true);
  }
}

/** Where there are documents, a question can be asked of them: for their own words, or for the model's from them. */
async function loadCollections() {
  const [select, names] = [$("#documents"), await listCollections(askForKey)];
  const option = (collection, chain, words) =>
    h("option", { value: JSON.stringify({ collection, chain }) }, `${words} ${collection}`);
  const ways = names.flatMap((name) => [option(name, "extract", "Quote from"), option(name, "cited", "Answer from")]);
  select.replaceChildren(h("option", { value: "" }, "No documents"), ...ways);
  if (ways.some((way) => way.value === localStorage.getItem(DOCUMENTS))) select.value = localStorage.getItem(DOCUMENTS);
  select.parentElement.hidden = !names.length;
}

/** Another tab changed a conversation: show it, unless this one is writing into it. */
function onStorage(event) {
  if (event.key?.endsWith(current.id) && !running) current = stored(current.id);
  if (event.key?.startsWith("seedbed.conversation.")) drawConversations(store.list(), current, lists);
  if (event.key?.endsWith(current.id) && !running) draw();
}

takeKeyFromAddress();
prepareDialogs();
prepareSidebar();
prepareScroll();
showConfidence();
addEventListener("hashchange", () => takeKeyFromAddress() && load());
addEventListener("storage", onStorage);
addEventListener("pagehide", () => running && keep(running.conversation));
document.addEventListener("keydown", onKey);
input.addEventListener("keydown", onInputKey);
input.addEventListener("input", () => grow(input));
$("#composer").addEventListener("submit", submit);
$("#new").addEventListener("click", newChat);
$("#help").addEventListener("click", openShortcuts);
$("#settings-open").addEventListener("click", openSettings);
$("#confidence").addEventListener("click", toggleConfidence);
$("#model").addEventListener("change", () => localStorage.setItem(MODEL, $("#model").value));
$("#documents").addEventListener("change", () => localStorage.setItem(DOCUMENTS, $("#documents").value));
load();
draw();
input.focus();
