/** The server: models and streamed chat completions, the key, and failures in words. */

const KEY = "seedbed.key";
const LOST = "The connection was lost before the reply was complete. The part received is kept.";
const UNREACHABLE = "The server does not answer. Check that `seedbed serve` is still running, then try again.";

/** A failure that can be shown as it is. */
export class ApiError extends Error {}

/** Keep the key of an address that ends in #key=…, and take it out of the address bar and the history. */
export function takeKeyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return false;
  sessionStorage.setItem(KEY, key);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

/** Ids of the models that can be used. `askForKey(wrong)` resolves to a key, or null. */
export async function listModels(askForKey) {
  const { response } = await request("v1/models", {}, askForKey);
  return (await response.json()).data.map((model) => model.id);
}

/** Names of the collections of documents that can be asked. */
export async function listCollections(askForKey) {
  const { response } = await request("v1/collections", {}, askForKey);
  return (await response.json()).data.map((collection) => collection.id);
}

/** Start a chat completion. Resolves to when it was asked for (ms) and the chunks as they arrive. */
export async function complete(body, signal, askForKey) {
  const options = { method: "POST", body: JSON.stringify(body), signal };
  const { response, sent } = await request("v1/chat/completions", options, askForKey);
  return { sent, chunks: chunksOf(response.body) };
}

async function request(path, options, askForKey) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
    const sent = performance.now();
    const response = await reach(fetch(path, { ...options, headers }), UNREACHABLE);
    if (response.ok) return { response, sent };
    if (response.status !== 401) throw await refusal(response);
    const fresh = await askForKey(key !== null);
    if (fresh === null) throw new ApiError("This server needs a key, and none was given. Try again to enter one.");
    sessionStorage.setItem(KEY, fresh);
  }
}

/** A network failure becomes words; an abort stays what it is. */
async function reach(promise, words) {
  try {
    return await promise;
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(words);
  }
}

async function refusal(response) {
  const { status } = response;
  const message = (await response.json().catch(() => null))?.error?.message;
  if (status !== 429) return new ApiError(message ?? `The server answered ${status}. Its log may say why.`);
  const seconds = Number(response.headers.get("Retry-After"));
  return new ApiError(`${message ?? "The server is busy."} Try again ${seconds ? `in ${seconds} s` : "in a moment"}.`);
}

async function* chunksOf(stream) {
  for await (const data of eventsOf(stream)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message);
    yield chunk;
  }
  throw new ApiError(LOST);
}

/** The data of server-sent events; a `data:` line is one event here, as every OpenAI-compatible server sends them. */
async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reach(reader.read(), LOST);
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}
