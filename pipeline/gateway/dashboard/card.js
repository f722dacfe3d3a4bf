import { busy, showDecision } from "./decision.js";
import { decisionsOf, goesOn, othersOf, rootOf, speaksOf, stateOf, worst } from "./situations.js";
import { arrange, element, say, several } from "./text.js";

const SAID = { escalated: "became worse" }; // nobody was called for that: a decision says whether to ask a human
const MEANING = { open: "goes on", escalated: "goes on, and became worse", quiet: "nothing came any more", resolved: "its sender says it is over" };

// One card a situation: its probable root on top, the others folded below. `read` fetches the decisions of an episode.
export function makeCard(read) {
  const card = element("li");
  const parts = { head: element("p", "head"), root: element("div"), note: element("p", "note"), others: element("details", "others"),
    summary: element("summary"), list: element("ol"), more: element("p", "facts") };
  parts.note.setAttribute("role", "status");
  parts.state = element("span");
  parts.seen = element("span", "facts");
  parts.head.append(parts.state, parts.seen);
  parts.others.append(parts.summary, parts.list, parts.more);
  card.append(parts.head, parts.root, parts.note, parts.others);
  card.parts = parts;
  card.rows = new Map();
  parts.others.addEventListener("toggle", () => { if (card.situation) fillOthers(card, read); });
  return card;
}

export function updateCard(card, situation, text, read) {
  const { parts } = card;
  const root = rootOf(situation);
  const state = stateOf(situation);
  card.situation = situation;
  card.text = text;
  card.dataset.situation = situation.id;
  card.className = [worst(situation.episodes), goesOn(state) ? "" : "over", busy(card) ? "busy" : ""].filter(Boolean).join(" ");
  badge(parts.state, state);
  say(parts.seen, [`${situation.occurrences.toLocaleString()} seen`, situation.total > 1 && `${several(situation.total, "episode")} of one cause, ${situation.active.toLocaleString()} ${situation.active === 1 ? "goes" : "go"} on`]
    .filter(Boolean).join(" · "));
  const waits = showDecision(parts.root, root, decisionsOf(root));
  say(parts.note, waits ? "There is a newer decision: it is shown once the form is sent or closed." : "");
  const others = othersOf(situation);
  const found = text ? others.filter((episode) => speaksOf(episode, text)).length : 0;
  const severity = worst(others);
  parts.others.hidden = situation.total < 2;
  say(parts.summary, `${several(situation.total - 1, "more episode")}${severity ? `, worst ${severity}` : ""}${found ? `, ${found.toLocaleString()} ${found === 1 ? "fits" : "fit"} the filter` : ""}`);
  fillOthers(card, read);
}

// The episodes that somebody looks at: the root, and those that are open below it.
export const lookedAt = (card) => [rootOf(card.situation), ...[...card.rows.values()].filter((row) => row.parts.details.open).map((row) => row.episode)];

// In the page only while they are looked at.
function fillOthers(card, read) {
  const { parts, situation, rows, text } = card;
  if (!parts.others.open) {
    if (busy(parts.list)) return;
    rows.clear();
    parts.list.replaceChildren();
    return;
  }
  const others = othersOf(situation);
  const fits = (episode) => text && speaksOf(episode, text);
  const order = text ? [...others.filter(fits), ...others.filter((episode) => !fits(episode))] : others;
  for (const id of [...rows.keys()]) if (!others.some((episode) => episode.id === id)) rows.delete(id);
  arrange(parts.list, order.map((episode) => {
    const row = rows.get(episode.id) || makeRow(read);
    rows.set(episode.id, row);
    updateRow(row, episode, fits(episode));
    return row;
  }));
  const left = situation.total - situation.episodes.length;
  say(parts.more, left > 0 ? `${left.toLocaleString()} more are in GET /v1/situations.` : "");
}

function makeRow(read) {
  const row = element("li");
  const details = element("details");
  const summary = element("summary");
  row.parts = { details, state: element("span"), severity: element("span"), what: element("span", "what"), seen: element("span", "facts"), holder: element("div") };
  summary.append(row.parts.what, " ", row.parts.state, " ", row.parts.severity, " ", row.parts.seen);
  details.append(summary, row.parts.holder);
  row.append(details);
  details.addEventListener("toggle", async () => {
    if (details.open) await read(row.episode);
    updateRow(row, row.episode, row.classList.contains("fits"));
  });
  return row;
}

function updateRow(row, episode, fits) {
  const { parts } = row;
  row.episode = episode;
  row.className = [fits ? "fits" : "", goesOn(episode.state) ? "" : "over"].filter(Boolean).join(" ");
  badge(parts.state, episode.state);
  say(parts.what, [episode.service, episode.error_type].filter(Boolean).join(" · "));
  say(parts.severity, episode.severity || "");
  parts.severity.className = `severity ${episode.severity || ""}`;
  say(parts.seen, `${episode.occurrences.toLocaleString()} seen`);
  if (parts.details.open) showDecision(parts.holder, episode, decisionsOf(episode));
}

function badge(node, state) {
  node.className = `badge ${state}`;
  node.title = MEANING[state];
  say(node, SAID[state] || state);
}
