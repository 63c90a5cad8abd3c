/** An answer from documents: its sentences with links to their sources, the quotation, what no passage supports. */

import { h } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

const MARK = /\uE000(\d*)\uE001/; // around a source's number in text on its way through Markdown

/** Draw the answer of `node` into `body`: while it is written, the draft stands above the quotation. */
export function renderAnswer(body, node, running) {
  const { answer } = node;
  const text = h("div", { class: "own" });
  if (running) text.append(h("p", { class: "draft" }, node.draft ?? ""));
  else if (!onlyQuoted(answer)) renderMarkdown(text, marked(answer.text, answer));
  const sources = sourceList(answer);
  if (!running) link(text, sources);
  body.replaceChildren(...[answer.rewritten && rewritten(answer.rewritten), text, sources].filter(Boolean));
}

/** What stands below an answer: whether its model found nothing, what no passage supports, how much was read. */
export function answerRemarks({ declined, demoted, meter }) {
  return [
    declined && h("p", { class: "remark" }, "The model did not find an answer in the passages; this sentence fits best."),
    demoted.length > 0 &&
      h("section", { class: "demoted", "aria-label": "Not supported" },
        h("p", {}, "The model also wrote this. No passage supports it:"), h("p", {}, demoted.join(" "))),
    meter && h("p", { class: "remark meter" }, read(meter)),
  ].filter(Boolean);
}

function read({ read, found, tokens_read: some, tokens_found: all }) {
  const count = (number) => number.toLocaleString("en");
  return `The model read ${read} of ${found} passages, ${count(some)} of ${count(all)} tokens.`;
}

/** Whether the answer is its quotation, which stands among the sources then. */
const onlyQuoted = ({ text, sources }) =>
  sources.length > 0 && text === sources.filter((one) => one.quoted).map((one) => plain(one.quote)).join(" ");
const plain = (quote) => quote.replace(/^[# ]+/, "").replace(/\s+/g, " ").trim();

const rewritten = (question) => h("p", { class: "remark" }, "Asked of the documents: ", h("q", {}, question));

/** The text with the mark of a source after each sentence that it supports, and an empty one where none does. */
function marked(text, { citations, unsupported }) {
  const marks = [...citations.map((one) => [one.end, one.number]), ...unsupported.map(([, end]) => [end, ""])];
  const characters = [...text]; // the server counts characters, a string of JavaScript halves of some
  for (const [end, number] of marks.sort((a, b) => b[0] - a[0])) characters.splice(end, 0, ` \uE000${number}\uE001`);
  return characters.join("");
}

/** Make links of the marks. */
function link(text, sources) {
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const found = MARK.exec(node.data);
    if (!found) continue;
    const rest = node.splitText(found.index);
    rest.data = rest.data.slice(found[0].length);
    rest.before(found[1] ? mark(found[1], sources) : h("span", { title: "No passage says this" }, "[?]"));
  }
}

function mark(number, sources) {
  const go = () => sources.querySelector(`[data-number="${number}"]`).focus();
  return h("button", { type: "button", class: "mark", "aria-label": `Source ${number}`, onclick: go }, `[${number}]`);
}

/** The sources of an answer, or the nearest passages where the documents do not tell. */
function sourceList(answer) {
  if (!answer.found) {
    if (!answer.hits.length) return null;
    const near = answer.hits.map(({ chunk }) => entry(chunk, shorten(chunk.text)));
    return h("details", { class: "sources" }, h("summary", {}, "The nearest passages"), h("ul", {}, ...near));
  }
  const rows = answer.sources.map((one) => entry(one, one.quote, one.number));
  const unsupported = answer.unsupported.length > 0 && h("p", { class: "remark" }, "[?] No passage says this.");
  return h("section", { class: "sources", "aria-label": "Sources" }, h("ol", {}, ...rows), unsupported);
}

function entry({ source, page, heading, quoted }, quote, number) {
  const where = [nameOf(source) + (page ? `, page ${page}` : ""), heading].filter(Boolean).join(" · ");
  const name = h("span", { class: "where", title: source }, number ? `[${number}] ${where}` : where);
  const attributes = { "data-number": number, tabindex: number ? "-1" : null, class: quoted ? "quotation" : null };
  return h("li", attributes, h("q", {}, quote.replace(/\s+/g, " ").trim()), name);
}

/** The file with its folder; the whole path is in the title. */
const nameOf = (source) => source.split("/").slice(-2).join("/");
const shorten = (text) => (text.length <= 200 ? text : `${text.slice(0, 199)}…`);
