// Searches channels by the beginning of their name. The gateway lists them in byte order, so those with the same
// beginning follow each other, and a page can start right before them.

// A name has printable ASCII characters except braces.
const FIRST_CHARACTER = 0x21;
const LAST = "~";
const isBrace = (code) => code === 0x7b || code === 0x7d;

// A valid name right before all names that begin with `prefix`; null if the list must start at its beginning.
function nameBefore(prefix) {
  let code = prefix.charCodeAt(prefix.length - 1) - 1;
  if (isBrace(code)) code -= 1;
  if (code < FIRST_CHARACTER) return null;
  const name = prefix.slice(0, -1) + String.fromCharCode(code) + LAST;
  const [namespace, rest] = name.split(/:(.*)/s);
  if (namespace === "") return null;
  // Before the colon, the namespace is open: any namespace that begins like this follows.
  return rest === undefined ? `${name}:${LAST}` : rest === "" ? null : name;
}

// The parameters of a request for a page of the channels whose name begins with `prefix`. `page` has those of the page.
export function searchQuery(prefix, page) {
  if (prefix === "") return page;
  const [namespace, rest] = prefix.split(/:(.*)/s);
  const filter = rest === undefined ? {} : { namespace };
  const start = page.after ?? (rest === "" ? null : nameBefore(prefix));
  return { ...filter, limit: page.limit, ...(start !== null && { after: start }) };
}

// The channels of an answer that match, and the key of the next page, which is null if no later one matches.
export function searchResult(prefix, { channels, next }) {
  const found = channels.filter(({ channel }) => channel.startsWith(prefix));
  const isOver = channels.some(({ channel }) => channel > prefix && !channel.startsWith(prefix));
  return { channels: found, next: isOver ? null : next };
}

// Why a text cannot be the name of a channel, or "".
export function channelProblem(name) {
  if (name === "all") return "";
  if (/[^!-~]|[{}]/.test(name)) return "A channel has printable ASCII characters without spaces and braces.";
  if (!/^[^:]+:./.test(name)) return "A channel is a namespace, a colon and a name, such as room:7.";
  return name.length > 255 ? "A channel has at most 255 characters." : "";
}
