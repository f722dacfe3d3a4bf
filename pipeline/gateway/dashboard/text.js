// Elements whose text comes from outside: it goes into the page as text only.
export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.append(...pieces(visible(String(text))));
  return node;
}

// A run of letters that are written from the right, with what stands between them: all their blocks, and no "·" of ours.
const RIGHT = "\\u0590-\\u08ff\\ufb1d-\\ufdff\\ufe70-\\ufefc\\u{10800}-\\u{10fff}\\u{1e800}-\\u{1eeff}";
const LEFTWARDS = new RegExp(`([${RIGHT}](?:[^\\p{L}·\\n]*[${RIGHT}])*)`, "u");

// Such runs are held apart: the digits and brackets beside them would change their places.
const pieces = (text) => text.split(LEFTWARDS).map((piece, place) => {
  if (place % 2 === 0) return piece;
  const held = document.createElement("bdi");
  held.textContent = piece;
  return held;
});

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

// Cut and not rounded: what falls short of a threshold does not read as if it met it. 0.57 times 100 is a little less than 57.
export const percentOf = (share) => Math.floor(share * 100 + 1e-9);

export function several(count, what) {
  return `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;
}

// Only where it changes: what did not is read out by nobody again.
export function say(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) node.replaceChildren(...pieces(shown));
}

// Give the parent these children in this order. Who is on one of them with the keyboard stays there.
export function arrange(parent, nodes) {
  const focused = document.activeElement;
  const wanted = new Set(nodes);
  for (const node of [...parent.children]) if (!wanted.has(node)) node.remove();
  nodes.forEach((node, place) => { if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] || null); });
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}
