/** What an answer from documents rests on: marks in its text, and the list of sources below it. */

import { h } from "./dom.js";

/** The text with a number after each sentence that a source supports, and [?] after each that none does. */
export function marked(text, answer) {
  if (!answer?.found) return text;
  const numbers = numbered(answer);
  const marks = [
    ...answer.citations.map((one) => [one.end, `[${numbers.get(place(one))}]`]),
    ...answer.unsupported.map(([, end]) => [end, "[?]"]),
  ];
  const characters = [...text]; // the server counts characters, a string of JavaScript halves of some
  for (const [end, mark] of marks.sort((a, b) => b[0] - a[0])) characters.splice(end, 0, ` ${mark}`);
  return characters.join("");
}

/** The sources of an answer, or the nearest passages where the documents do not tell. */
export function sourceList(answer) {
  if (!answer) return null;
  if (!answer.found) {
    if (!answer.hits.length) return null;
    const near = answer.hits.map(({ chunk }) => entry(chunk, shorten(chunk.text)));
    return h("details", { class: "sources" }, h("summary", {}, "The nearest passages"), h("ul", {}, ...near));
  }
  const numbers = numbered(answer);
  const first = (citation, at) => answer.citations.findIndex((one) => place(one) === place(citation)) === at;
  const cited = answer.citations.filter(first);
  const rows = cited.map((one) => entry(one, one.quote, numbers.get(place(one))));
  const unsupported = answer.unsupported.length > 0 && h("p", { class: "remark" }, "[?] No passage says this.");
  const title = h("p", { class: "sources-title" }, "Sources");
  return h("section", { class: "sources", "aria-label": "Sources" }, rows.length > 0 && title, h("ol", {}, ...rows), unsupported);
}

function entry({ source, page, heading }, quote, number) {
  const where = [source + (page ? `, page ${page}` : ""), heading].filter(Boolean).join(" · ");
  const name = h("span", { class: "where" }, number ? `[${number}] ${where}` : where);
  return h("li", {}, name, h("q", {}, quote.replace(/\s+/g, " ").trim()));
}

/** Each place of a source has one number, in the order of the text. */
function numbered({ citations }) {
  const numbers = new Map();
  for (const one of citations) if (!numbers.has(place(one))) numbers.set(place(one), numbers.size + 1);
  return numbers;
}

const place = (one) => `${one.source} ${one.source_start} ${one.source_end}`;
const shorten = (text) => (text.length <= 200 ? text : `${text.slice(0, 199)}…`);
