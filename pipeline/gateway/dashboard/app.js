"use strict";
// Text from outside goes into the page through textContent only.
const MOST = 200;
const list = document.getElementById("list");
const shown = new Set();
let cursor = null;
let wait = 500;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function card(decision) {
  const item = element("li", decision.severity || "");
  item.dataset.createdAt = decision.created_at;
  const top = element("div", "top");
  top.append(element("span", "symptom", decision.symptom));
  const time = element("time", "", new Date(decision.created_at).toLocaleTimeString());
  time.dateTime = decision.created_at;
  top.append(time);
  const human = decision.verdict === "escalate";
  const advice = element("div", `advice ${human ? "escalate" : "recommend"}`, decision.recommended_action);
  const track = decision.track_record;
  const minutes = track && track.recovery_minutes !== null ? `, median ${track.recovery_minutes} min to recovery` : "";
  const before = track && `done before: ${track.times}, worked ${track.worked}, failed ${track.failed}${minutes}`;
  const trust = element("div", "trust");
  const percent = Math.round(decision.confidence_score * 100);
  const meter = element("meter");
  meter.max = 1;
  meter.value = decision.confidence_score;
  meter.setAttribute("aria-label", `confidence ${percent} percent`);
  trust.append(meter, element("span", "", `${percent} % confidence · ${human ? "ask a human" : "recommended"}`));
  for (const verdict of ["accept", "reject"]) trust.append(feedback(decision.id, verdict));
  const details = element("details");
  details.append(element("summary", "", `why · ${decision.evidence.length} similar incidents`));
  details.append(element("p", "", decision.rationale));
  const evidence = element("ul");
  for (const hit of decision.evidence) {
    const action = hit.action ? hit.action.name : "no action";
    evidence.append(element("li", "", `${hit.score.toFixed(2)} ${hit.incident_id}: ${hit.title} (${action}, ${hit.outcome})`));
  }
  details.append(evidence);
  const engine = decision.fallback_reason ? `${decision.engine} (${decision.fallback_reason})` : decision.engine;
  const facts = [decision.id, engine, decision.model, `${Math.round(decision.latency_ms)} ms`, `${decision.occurrences} seen`, decision.shadow && "shadow: nobody was notified"];
  item.append(top, advice, ...(before ? [element("div", "facts", before)] : []), trust, details, element("div", "facts", facts.filter(Boolean).join(" · ")));
  return item;
}

function feedback(id, verdict) {
  const button = element("button", "", verdict);
  button.addEventListener("click", async () => {
    const body = JSON.stringify({ verdict });
    const answer = await fetch(`/v1/decisions/${encodeURIComponent(id)}/feedback`,
      { method: "POST", headers: { "Content-Type": "application/json" }, body });
    button.textContent = answer.ok ? `${verdict}ed`.replace("eed", "ed") : "not taken";
    button.disabled = answer.ok;
  });
  return button;
}

function show(decision) {
  if (shown.has(decision.id)) return;
  shown.add(decision.id);
  document.getElementById("empty").hidden = true;
  // Newest first by their own time: the snapshot may come after what the feed has brought already.
  const older = [...list.children].find((item) => item.dataset.createdAt <= decision.created_at);
  list.insertBefore(card(decision), older || null);
  while (list.children.length > MOST) list.lastChild.remove();
}

async function snapshot() {
  const answer = await fetch(`/v1/decisions?limit=${MOST}`);
  if (answer.ok) (await answer.json()).reverse().forEach(show);
}

async function counts() {
  const answer = await fetch("/v1/stats");
  if (!answer.ok) return;
  const stats = await answer.json();
  for (const name of ["anomalies", "open_episodes", "decisions", "incidents", "median_latency_ms"]) {
    const value = stats[name];
    document.getElementById(name).textContent = value === null ? "–" : Math.round(value).toLocaleString();
  }
}

function take(message) {
  if (message.cursor) cursor = message.cursor;
  if (message.type === "batch") message.events.forEach(take);
  else if (message.type === "decision") show(message.data);
  else if (message.type === "system" && message.data.recovered !== true) snapshot();
}

function state(text, live) {
  const node = document.getElementById("state");
  node.textContent = text;
  node.classList.toggle("live", live);
}

function connect() {
  const port = document.querySelector("meta[name=relay-port]").content;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const since = cursor ? `&since=${encodeURIComponent(cursor)}` : "";
  const socket = new WebSocket(`${scheme}://${location.hostname}:${port}/ws/incidents?batch=1&types=decision${since}`);
  socket.onopen = () => { wait = 500; state("live", true); };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = () => {
    state("connection lost, trying again …", false);
    setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 10000);
  };
}

document.getElementById("example").textContent =
  `curl -X POST ${location.origin}/v1/anomalies -d '{"error_type": "database_timeout", "spike_percentage": 450}'`;
connect();
counts();
setInterval(counts, 3000);
