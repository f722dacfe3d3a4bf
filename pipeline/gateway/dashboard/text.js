// Elements whose text comes from outside: it goes into the page through textContent only.
export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = visible(String(text));
  return node;
}

const HIDDEN = /[\p{Cc}\p{Cf}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u2d7f\u3164\uffa0\ufe00-\ufe0f\u{16fe4}\u{1d159}\u{e0100}-\u{e01ef}]/gu;

// Without what turns the line around or shows nothing; a letter keeps the first four of its marks, or they cover the lines around.
export function visible(text) {
  return text.replace(HIDDEN, (hidden) => (hidden === "\n" || hidden === "\t" ? hidden : "")).replace(/(\p{M}{4})\p{M}+/gu, "$1");
}

// The time of a day; what is not of today, with its date.
export function clock(moment) {
  const when = new Date(moment);
  return when.toDateString() === new Date().toDateString() ? when.toLocaleTimeString() : when.toLocaleString();
}

export function labelled(text, field, className) {
  const label = element("label", className || "", text);
  label.append(field);
  return label;
}

export function choice(values) {
  const select = element("select");
  for (const [value, text] of values) {
    const option = element("option", "", text);
    option.value = value;
    select.append(option);
  }
  return select;
}

export function several(count, what) {
  return `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;
}

// Only where it changes: what did not is read out by nobody again.
export function say(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

// Give the parent these children in this order. Who is on one of them with the keyboard stays there.
export function arrange(parent, nodes) {
  const focused = document.activeElement;
  const wanted = new Set(nodes);
  for (const node of [...parent.children]) if (!wanted.has(node)) node.remove();
  nodes.forEach((node, place) => { if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] || null); });
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}
