/**
 * Conversations, kept in this browser only, one localStorage entry each.
 *
 * A conversation is a tree: an edited message and a regenerated reply are siblings of what they replace, and `chosen`
 * says which sibling is shown. So nothing is lost by trying again, and versions need no machinery of their own.
 */

const PREFIX = "seedbed.conversation.";

export function newConversation() {
  const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  return { id, title: "", created: new Date().toISOString(), updated: Date.now(), children: [], chosen: 0 };
}

/** All conversations, the last used first. An entry that cannot be read is left alone. */
export function list() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  return keys.map(read).filter(Boolean).sort((one, other) => other.updated - one.updated);
}

export const load = (id) => read(PREFIX + id);

function read(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    return Array.isArray(found?.children) ? found : null;
  } catch {
    return null;
  }
}

/** Returns whether there was room. Probabilities take the most room, so those of other conversations go first. */
export function save(conversation) {
  if (write(conversation)) return true;
  for (const other of list()) if (other.id !== conversation.id) write(withoutTokens(other));
  return write(conversation) || write(withoutTokens(conversation));
}

export const remove = (id) => localStorage.removeItem(PREFIX + id);

function write(conversation) {
  try {
    localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

function withoutTokens(node) {
  const { tokens, ...rest } = node;
  return { ...rest, children: node.children.map(withoutTokens) };
}

/** The messages that are shown, first to last. */
export function path(conversation) {
  const nodes = [];
  for (let at = conversation; at.children.length; nodes.push(at)) at = at.children[at.chosen];
  return nodes;
}

/** Add a message after `parent`, as its shown version. */
export function add(parent, message) {
  const node = { ...message, children: [], chosen: 0 };
  parent.chosen = parent.children.push(node) - 1;
  return node;
}

/** Remove a message with all that follows it; its neighbouring version is shown instead. */
export function cut(parent, node) {
  parent.children.splice(parent.children.indexOf(node), 1);
  parent.chosen = Math.max(0, Math.min(parent.chosen, parent.children.length - 1));
}

/** What is sent to a model, and exported: roles and contents, of an answer from documents its sentences alone. */
export function transcript(nodes, system = "") {
  const turns = nodes.map(({ role, text, answer }) => ({ role, content: answer?.text ?? text })).filter((one) => one.content);
  return system ? [{ role: "system", content: system }, ...turns] : turns;
}
