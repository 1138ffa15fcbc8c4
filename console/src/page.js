// Access to the page's elements. Texts are always set as text, never as HTML, because messages are untrusted.

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...children);
  return created;
}

// Sets a text if it has changed: screen readers would repeat an unchanged one.
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Shows the reasons for the state of the gateway; an empty text hides them.
export function showNotice(text, kind = "") {
  const notice = byId("notice");
  setText(notice, text);
  notice.hidden = text === "";
  notice.className = `notice ${kind}`;
}

// Shows a text in one element of the page; `kind` is "bad" for an error, "warn", or nothing.
export function setStatus(id, text, kind = "") {
  const target = byId(id);
  setText(target, text);
  target.classList.remove("bad", "warn");
  if (kind) target.classList.add(kind);
}

// Handles a form without submitting it, which the content security policy forbids. `handle` gets the event.
export function onSubmit(id, handle) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle(event);
  });
}

// Shows terms and their values as a list of definitions.
export function showFacts(id, facts) {
  const list = byId(id);
  const texts = Object.entries(facts);
  if (list.children.length !== texts.length) {
    list.replaceChildren(...texts.map(([term]) => element("div", {}, element("dt", {}, term), element("dd"))));
  }
  texts.forEach(([, text], index) => setText(list.children[index].lastElementChild, text));
}
