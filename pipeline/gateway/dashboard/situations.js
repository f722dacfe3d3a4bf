// What the page knows, and what of it is wanted. No element and no request in here.
export const SEVERITIES = ["info", "warning", "error", "critical"];
export const STATES = ["escalated", "open", "quiet", "resolved"];
const MOST = 2000;
const known = new Map(); // episode → its decisions by revision; who was asked for longest ago is forgotten first

export const goesOn = (state) => state === "escalated" || state === "open";

// Who says none is as bad as a warning.
export const rank = (severity) => SEVERITIES.indexOf(severity || "warning");

// Of a situation: what is worst in it, an episode that goes on before one that is over.
export const stateOf = (situation) => STATES.find((state) => situation.episodes.some((episode) => episode.state === state));

export function worst(episodes) {
  const active = episodes.filter((episode) => goesOn(episode.state));
  const ranks = (active.length ? active : episodes).filter((episode) => episode.severity).map((episode) => rank(episode.severity));
  return ranks.length ? SEVERITIES[Math.max(...ranks)] : null;
}

export const rootOf = (situation) => situation.episodes.find((episode) => episode.id === situation.probable_root);

// The others of a situation as they are read: what goes on first, the worst on top, then as they began.
export function othersOf(situation) {
  const order = (episode) => (goesOn(episode.state) ? 0 : 10) - rank(episode.severity);
  return situation.episodes.filter((episode) => episode.id !== situation.probable_root).sort((one, other) => order(one) - order(other));
}

export function learn(decision) {
  const decided = known.get(decision.episode_id) || new Map();
  decided.set(decision.revision, decision);
  remember(decision.episode_id, decided);
}

function remember(episode, decided) {
  known.delete(episode);
  known.set(episode, decided);
  if (known.size > MOST) known.delete(known.keys().next().value);
}

// Newest first.
export function decisionsOf(episode) {
  const decided = known.get(episode.id);
  if (!decided) return [];
  remember(episode.id, decided);
  return [...decided.values()].sort((one, other) => other.revision - one.revision);
}

// Whether to ask for its decisions: for the newest one always, for one before it once.
export function lacks(episode) {
  const decided = known.get(episode.id);
  if (!decided || Math.max(...decided.keys()) < episode.revision) return true;
  return decided.size < episode.revision && decided.asked !== episode.revision;
}

export function asked(episode) {
  const decided = known.get(episode.id);
  if (decided) decided.asked = episode.revision;
}

// The filter as an address has it, and back. What no choice offers is no filter, and no id has a NUL.
export function filterOf(search) {
  const query = new URLSearchParams(search);
  const one = (name, values) => (values.includes(query.get(name)) ? query.get(name) : "");
  return { q: query.get("q") || "", situation: (query.get("situation") || "").replaceAll("\0", ""), severity: one("severity", SEVERITIES), state: one("state", ["active", ...STATES]) };
}

export function addressOf(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
  return query ? `?${query}` : location.pathname;
}

// Every word of the text is somewhere in what the episode says.
export function speaksOf(episode, text) {
  const symptom = decisionSymptom(episode.id);
  const said = [episode.service, episode.error_type, episode.message, symptom].filter(Boolean).join("\n").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => said.includes(word));
}

function decisionSymptom(id) {
  const decided = known.get(id);
  return decided ? [...decided.values()].map((decision) => decision.symptom).join("\n") : "";
}

export function wanted(situation, filter) {
  const state = stateOf(situation);
  if (filter.situation && filter.situation !== situation.id) return false;
  if (filter.state && filter.state !== state && !(filter.state === "active" && goesOn(state))) return false;
  if (filter.severity && rank(worst(situation.episodes)) < rank(filter.severity)) return false;
  return situation.episodes.some((episode) => speaksOf(episode, filter.q));
}
