/** One reply: asks the server, and fills a message as the answer streams in. Whatever happens, what arrived stays. */

import { complete } from "./api.js";
import { TokenReader } from "./confidence.js";
import { askForKey, parameters } from "./dialogs.js";

const STREAM = { stream: true, stream_options: { include_usage: true } };
const CONFIDENCE = { logprobs: true, top_logprobs: 5 };

/**
 * Fill `node` (text, draft, tokens, finish, loop, answer, stats or error); `changed` is called after every chunk.
 * Never rejects.
 */
export async function receive(node, messages, signal, changed) {
  const reader = new TokenReader();
  try {
    const from = node.documents ? { documents: node.documents } : CONFIDENCE;
    const asked = node.documents?.chain === "extract" ? quotation(messages) : { messages, ...parameters() };
    const body = { model: node.model, ...STREAM, ...from, ...asked };
    const { sent, chunks } = await complete(body, signal, askForKey);
    for await (const chunk of chunks) {
      take(node, chunk, reader, sent);
      changed();
    }
  } catch (error) {
    if (error.name === "AbortError") node.finish = "stopped";
    else node.error = error.message;
  }
  node.tokens.push(...reader.end());
  if (node.loop && !node.documents) node.text = [...node.text].slice(0, node.loop.kept_characters).join("");
  delete node.draft; // what was settled of it is in the answer
}

/** No model writes a quotation: the server refuses what would shape a model's words. */
const quotation = (messages) => ({ messages: messages.filter(({ role }) => role !== "system") });

function take(node, { choices: [choice], usage, documents }, reader, sent) {
  node.answer = documents ?? node.answer;
  node.text += choice?.delta.content ?? "";
  if (choice?.delta.draft) node.draft = (node.draft ?? "") + choice.delta.draft;
  node.finish = choice?.finish_reason ?? node.finish;
  node.loop = choice?.repetition ?? node.loop;
  const entries = choice?.logprobs?.content ?? [];
  node.tokens.push(...reader.read(entries));
  if (entries.length || choice?.delta.content || choice?.delta.draft || usage) measure(node, entries.length, usage, sent);
}

/** Time to the first token, and the rate from there. Tokens are counted until the server says how many there were. */
function measure(node, count, usage, sent) {
  const seconds = (performance.now() - sent) / 1000;
  const first = node.stats?.first ?? seconds;
  const tokens = usage?.completion_tokens ?? (node.stats?.tokens ?? 0) + count;
  node.stats = { tokens, first, rate: tokens > 1 && seconds > first ? (tokens - 1) / (seconds - first) : 0 };
}
