import { clock, element, percentOf, several } from "./text.js";
import { verdictOn, verdicts } from "./verdict.js";

// The newest decision of an episode, and what was said before it, newest first.
export function decisionView(decision, before) {
  const item = element("div", "decision");
  item.dataset.decision = decision.id;
  const top = element("div", "top");
  top.append(element("span", "symptom", decision.symptom));
  const time = element("time", "", clock(decision.created_at));
  time.dateTime = decision.created_at;
  if (decision.revision > 1) top.append(element("span", "again", `decided again: ${decision.occurrences} seen`));
  if (decision.severity) top.append(element("span", `severity ${decision.severity}`, decision.severity));
  top.append(time);
  const human = decision.verdict === "escalate";
  const advice = element("div", `advice ${human ? "escalate" : "recommend"}`, decision.recommended_action);
  const track = decision.track_record;
  const minutes = track && track.recovery_minutes !== null ? `, median ${track.recovery_minutes} min to recovery` : "";
  const done = track && `done before: ${track.times}, worked ${track.worked}, failed ${track.failed}${minutes}`;
  const trust = element("div", "trust");
  const percent = percentOf(decision.confidence_score);
  const meter = element("meter");
  meter.max = 1;
  meter.value = decision.confidence_score;
  meter.setAttribute("aria-label", `confidence ${percent} percent`);
  trust.append(meter, element("span", "", `${percent} % confidence · ${human ? "ask a human" : "recommended"}`));
  const correcting = element("form", "fields");
  correcting.hidden = true;
  trust.append(...verdicts(decision, correcting));
  const engine = decision.fallback_reason ? `${decision.engine} (${decision.fallback_reason})` : decision.engine;
  const facts = [decision.id, engine, decision.model, `${Math.round(decision.latency_ms)} ms`, `${decision.occurrences} seen`, decision.shadow && "shadow: nobody was notified"];
  item.append(top, advice, ...(done ? [element("div", "facts", done)] : []), trust, correcting, why(decision, before),
    element("div", "facts", facts.filter(Boolean).join(" · ")));
  return item;
}

function why(decision, before) {
  const details = element("details", "why");
  details.append(element("summary", "", `why · ${several(decision.evidence.length, "similar incident")}`));
  details.append(element("p", "", decision.rationale));
  if (decision.evidence.length) details.append(element("p", "facts", "Best match first, by meaning, words, error type and service together; the number is of meaning alone."));
  const evidence = element("ol");
  for (const hit of decision.evidence) {
    const action = hit.action ? hit.action.name : "no action";
    const past = element("li", "", `${hit.incident_id}: `);
    past.append(element("bdi", "", hit.title), ` (${action}, ${hit.outcome}; alike in meaning ${hit.score.toFixed(2)})`);
    if (hit.summary) past.append(element("div", "facts", hit.summary));
    evidence.append(past);
  }
  details.append(evidence, ...history(before));
  return details;
}

function history(before) {
  if (!before.length) return [];
  const old = element("ul", "earlier");
  for (const one of before) {
    const said = verdictOn(one.id) ? ` · ${verdictOn(one.id)}` : "";
    old.append(element("li", "", `${clock(one.created_at)}: ${one.recommended_action} (${percentOf(one.confidence_score)} %, ${one.occurrences} seen)${said}`));
  }
  return [element("p", "facts", "Decided before:"), old];
}

// Whether somebody fills in a form below: then it is left alone.
export const busy = (node) => node.querySelector("form:not([hidden])") !== null;

// Put what is known of an episode into the holder, unless it is there already. Returns whether something newer has to wait.
export function showDecision(holder, episode, decisions) {
  const [decision, ...before] = decisions;
  const version = decision ? `${decision.id} ${before.length}` : `${episode.id} waiting`;
  if (holder.dataset.version === version || (!decision && holder.dataset.episode === episode.id)) return false;
  if (busy(holder)) return true;
  const made = decision ? decisionView(decision, before) : waiting(episode);
  const old = holder.firstElementChild;
  const place = old ? focusable(old).indexOf(document.activeElement) : -1;
  if (old && old.querySelector(".why[open]") && made.querySelector(".why")) made.querySelector(".why").open = true;
  holder.replaceChildren(made);
  holder.dataset.version = version;
  holder.dataset.episode = episode.id;
  if (place >= 0) focusable(made)[place]?.focus({ preventScroll: true });
  return false;
}

const focusable = (node) => [...node.querySelectorAll("button, summary")];

function waiting(episode) {
  const item = element("div", "decision");
  const on = episode.service ? ` on ${episode.service}` : "";
  const where = episode.error_type.toLowerCase().endsWith(on.toLowerCase()) ? "" : on;
  const said = episode.message && episode.message !== episode.error_type ? `: ${episode.message}` : "";
  item.append(element("div", "symptom", `${episode.error_type}${where}${said}`), element("div", "facts", "No decision yet."));
  return item;
}
