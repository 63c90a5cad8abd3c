/**
 * Markdown to DOM nodes: the part of it that models write. No HTML passes: what is not Markdown stays text.
 *
 * Left out: raw HTML, images (shown as links: the page loads nothing from elsewhere), reference links, footnotes, math.
 * Repetitions in patterns are bounded and nesting is limited, so that no text can make the page hang.
 */

import { copy, h } from "./dom.js";

const DEPTH = 8;
const FENCE = /^ {0,3}(`{3,}|~{3,}) *([^\s`]{0,40})[^`]{0,200}$/;
const HEADING = /^ {0,3}(#{1,6}) +(.*)$/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)]) {1,4}(?=\S)/;
const LINK = /^(?:https?:\/\/|mailto:)/i;
const INLINE = new RegExp(
  [
    /\\(?<escaped>[!-/:-@[-`{-~])/,
    /(?<ticks>`{1,8})(?!`)(?<code>[^]{1,2000}?)(?<!`)\k<ticks>(?!`)/,
    /!?\[(?<label>[^[\]]{1,500})\]\((?<target>[^\s()]{1,2000})(?: "[^"\n]{0,200}")?\)/,
    /(?<address>https?:\/\/[^\s<>()[\]"'`*]{1,2000}[^\s<>()[\]"'`*.,;:!?])/,
    /\*\*\*(?=[^\s*])(?<both>[^*]{1,2000})(?<=[^\s*])\*\*\*(?!\*)/,
    /\*\*(?=\S)(?<strong>[^]{1,2000}?)(?<=\S)\*\*(?!\*)/,
    /(?<![\p{L}\p{N}_])__(?=\S)(?<strong2>[^]{1,2000}?)(?<=\S)__(?![\p{L}\p{N}_])/,
    /\*(?=[^\s*])(?<em>[^*]{1,2000})(?<=[^\s*])\*(?!\*)/,
    /(?<![\p{L}\p{N}_])_(?=[^\s_])(?<em2>[^_]{1,2000})(?<=[^\s_])_(?![\p{L}\p{N}_])/,
    /~~(?=\S)(?<del>[^~]{1,2000})(?<=\S)~~/,
  ].map((pattern) => pattern.source).join("|"),
  "gu",
);

const drawn = new WeakMap();

/** Show `source` in `target`. Blocks that did not change since the last call are kept, and with them selections. */
export function renderMarkdown(target, source) {
  const wanted = blocksOf(source.split("\n"), 0);
  let same = 0;
  while (same < wanted.length && drawn.get(target.children[same]) === wanted[same].source) same += 1;
  while (target.children.length > same) target.lastElementChild.remove();
  for (const block of wanted.slice(same)) {
    const element = block.build();
    drawn.set(element, block.source);
    target.append(element);
  }
}

/** Cut lines into blocks: `source` to compare, `build` to make the element. */
function blocksOf(lines, depth) {
  const blocks = [];
  for (let at = afterBlank(lines, 0); at < lines.length; ) {
    const [end, build] = blockAt(lines, at, depth);
    blocks.push({ source: lines.slice(at, end).join("\n"), build });
    at = afterBlank(lines, end);
  }
  return blocks;
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  const heading = HEADING.exec(line);
  if (FENCE.test(line)) return fence(lines, at);
  if (heading) return [at + 1, () => h(`h${Math.min(6, heading[1].length + 1)}`, {}, ...inline(title(heading[2])))];
  if (RULE.test(line)) return [at + 1, () => h("hr")];
  if (depth < DEPTH && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth < DEPTH && ITEM.test(line)) return itemList(lines, at, depth);
  if (isTable(lines, at)) return table(lines, at);
  return paragraph(lines, at, depth);
}

const title = (text) => text.trimEnd().replace(/ #{1,6}$/, "").trim();

function paragraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !interrupts(lines, end, depth)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return [end, () => h("p", {}, ...inline(text))];
}

function interrupts(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || isTable(lines, at)) return true;
  return depth < DEPTH && (QUOTE.test(line) || ITEM.test(line));
}

function fence(lines, at) {
  const [, mark, language] = FENCE.exec(lines[at]);
  const closes = (line) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  const close = lines.findIndex((line, index) => index > at && closes(line));
  const text = lines.slice(at + 1, close < 0 ? lines.length : close).join("\n");
  return [close < 0 ? lines.length : close + 1, () => codeBlock(text, language)];
}

function codeBlock(text, language) {
  const button = h("button", { type: "button", class: "quiet", onclick: () => copy(text, button) }, "Copy");
  const code = h("code", {}, text);
  const label = { tabindex: "0", role: "group", "aria-label": language ? `Code in ${language}` : "Code" };
  const bar = h("div", { class: "bar" }, h("span", {}, language), button);
  return h("div", { class: "code" }, bar, h("pre", label, code));
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [end, () => h("blockquote", {}, ...blocksOf(inner, depth + 1).map((block) => block.build()))];
}

/** Items of one kind of marker; the list is loose, its items paragraphs, when blank lines are between or in them. */
function itemList(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const items = [];
  let [end, loose] = [at, false];
  for (let next = at; continuesList(first, lines[next]); next = afterBlank(lines, end)) {
    const own = itemLines(lines, next, depth);
    loose ||= next > end || own.some((line) => !line.trim());
    items.push(own);
    end = next + own.length;
  }
  const number = parseInt(first[2], 10);
  const attributes = number >= 0 && number !== 1 ? { start: number } : {};
  return [end, () => h(number >= 0 ? "ol" : "ul", attributes, ...items.map((item) => listItem(item, loose, depth)))];
}

function continuesList(first, line = "") {
  const item = ITEM.exec(line);
  return item !== null && item[2].slice(-1) === first[2].slice(-1) && !RULE.test(line);
}

function afterBlank(lines, at) {
  while (at < lines.length && !lines[at].trim()) at += 1;
  return at;
}

/** An item's lines without their indent: what is indented below the marker, or goes on without a blank line. */
function itemLines(lines, at, depth) {
  const width = ITEM.exec(lines[at])[0].length;
  const own = [lines[at].slice(width)];
  for (let end = at + 1; end < lines.length && belongs(lines, end, width, depth); end += 1) {
    own.push(lines[end].slice(Math.min(indent(lines[end]), width)));
  }
  return own;
}

function belongs(lines, at, width, depth) {
  const line = lines[at];
  if (line.trim()) return indent(line) >= width || (lines[at - 1].trim() !== "" && !interrupts(lines, at, depth));
  const next = lines[afterBlank(lines, at)];
  return next !== undefined && indent(next) >= width;
}

const indent = (line) => line.length - line.trimStart().length;

function listItem(lines, loose, depth) {
  const built = blocksOf(lines, depth + 1).map((block) => block.build());
  const unwrap = (element) => (!loose && element.tagName === "P" ? [...element.childNodes] : [element]);
  return h("li", {}, ...built.flatMap(unwrap));
}

const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());

function isTable(lines, at) {
  const under = lines[at + 1] ?? "";
  if (!lines[at].includes("|") || !under.includes("-")) return false;
  const dashes = cells(under);
  return dashes.length === cells(lines[at]).length && dashes.every((cell) => /^:?-{1,100}:?$/.test(cell));
}

function table(lines, at) {
  const head = cells(lines[at]);
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const row = (kind) => (line) => {
    const texts = cells(line);
    return h("tr", {}, ...head.map((_, column) => h(kind, {}, ...inline(texts[column] ?? ""))));
  };
  const body = () => h("tbody", {}, ...lines.slice(at + 2, end).map(row("td")));
  const build = () => h("table", {}, h("thead", {}, row("th")(lines[at])), body());
  return [end, () => h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, build())];
}

/** Inline Markdown to nodes. Emphasis inside emphasis is parsed again, each time on a shorter text. */
function inline(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(done, match.index), span(match[0], match.groups));
    done = match.index + match[0].length;
  }
  return [...nodes, text.slice(done)].filter((node) => node !== "");
}

function span(whole, found) {
  if (found.escaped) return found.escaped;
  if (found.code) return h("code", {}, found.code.replaceAll("\n", " ").replace(/^ (.*\S.*) $/, "$1"));
  if (found.address) return link(found.address, [found.address]);
  if (found.label) return LINK.test(found.target) ? link(found.target, inline(found.label)) : whole;
  if (found.del) return h("del", {}, ...inline(found.del));
  if (found.both) return h("em", {}, h("strong", {}, ...inline(found.both)));
  const strong = found.strong ?? found.strong2;
  return strong ? h("strong", {}, ...inline(strong)) : h("em", {}, ...inline(found.em ?? found.em2));
}

const link = (href, children) => h("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
