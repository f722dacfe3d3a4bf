"use strict";
// Text from outside goes into the page through textContent only.
const MOST = 200;
const list = document.getElementById("list");
const shown = new Set();
const earlier = new Map(); // episode → its decisions that a newer one took the place of
const judged = new Map(); // decision → the newest verdict on it, in words
let cursor = null;
let wait = 500;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = visible(String(text));
  return node;
}

// The time of a day; what is not of today, with its date.
function clock(moment) {
  const when = new Date(moment);
  return when.toDateString() === new Date().toDateString() ? when.toLocaleTimeString() : when.toLocaleString();
}

// Without what turns the line around or shows nothing; a letter keeps the first four of its marks, or they cover the lines around.
function visible(text) {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (hidden) => (hidden === "\n" || hidden === "\t" ? hidden : "")).replace(/(\p{M}{4})\p{M}+/gu, "$1");
}

function card(decision) {
  const item = element("li", decision.severity || "");
  item.dataset.createdAt = decision.created_at;
  item.dataset.episode = decision.episode_id;
  item.decision = decision;
  const top = element("div", "top");
  top.append(element("span", "symptom", decision.symptom));
  const time = element("time", "", clock(decision.created_at));
  time.dateTime = decision.created_at;
  if (decision.revision > 1) top.append(element("span", "again", `decided again: ${decision.occurrences} seen`));
  if (decision.severity) top.append(element("span", "severity", decision.severity));
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
  const correcting = element("form", "fields");
  correcting.hidden = true;
  trust.append(...verdicts(decision, correcting));
  const details = element("details");
  details.append(element("summary", "", `why · ${decision.evidence.length} similar incidents`));
  details.append(element("p", "", decision.rationale));
  if (decision.evidence.length) details.append(element("p", "facts", "Best match first, by meaning, words, error type and service together; the number is of meaning alone."));
  const evidence = element("ol");
  for (const hit of decision.evidence) {
    const action = hit.action ? hit.action.name : "no action";
    const past = element("li", "", `${hit.incident_id}: ${hit.title} (${action}, ${hit.outcome}; alike in meaning ${hit.score.toFixed(2)})`);
    if (hit.summary) past.append(element("div", "facts", hit.summary));
    evidence.append(past);
  }
  details.append(evidence);
  const engine = decision.fallback_reason ? `${decision.engine} (${decision.fallback_reason})` : decision.engine;
  const facts = [decision.id, engine, decision.model, `${Math.round(decision.latency_ms)} ms`, `${decision.occurrences} seen`, decision.shadow && "shadow: nobody was notified"];
  details.append(...history(decision));
  item.append(top, advice, ...(before ? [element("div", "facts", before)] : []), trust, correcting, details, element("div", "facts", facts.filter(Boolean).join(" · ")));
  return item;
}

// What was said of the episode before, newest first.
function history(decision) {
  const before = (earlier.get(decision.episode_id) || []).sort((one, other) => other.revision - one.revision);
  if (!before.length) return [];
  const old = element("ul", "earlier");
  for (const one of before) {
    const said = judged.has(one.id) ? ` · ${judged.get(one.id)}` : "";
    old.append(element("li", "", `${clock(one.created_at)}: ${one.recommended_action} (${Math.round(one.confidence_score * 100)} %, ${one.occurrences} seen)${said}`));
  }
  return [element("p", "facts", "Decided before:"), old];
}

// What is wrong, or null where the verdict is taken.
async function send(id, verdict) {
  try {
    const answer = await fetch(`/v1/decisions/${encodeURIComponent(id)}/feedback`,
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(verdict) });
    return answer.ok ? null : (await answer.json().catch(() => ({}))).detail || "not taken";
  } catch {
    return "not sent: PulseGuard does not answer";
  }
}

// Accept, reject, or say what was done instead: one of them ends it.
function verdicts(decision, form) {
  const buttons = ["accept", "reject", "correct …"].map((text) => element("button", "", text));
  const told = element("span", "verdict", judged.get(decision.id) || "");
  told.setAttribute("role", "status");
  const disable = (yes) => { for (const button of buttons) button.disabled = yes; };
  const done = (text) => {
    told.textContent = text;
    disable(true);
  };
  for (const [place, said] of [[0, "accepted"], [1, "rejected"]]) {
    buttons[place].addEventListener("click", async () => {
      disable(true);
      const fault = await send(decision.id, { verdict: buttons[place].textContent });
      disable(false);
      if (fault) told.textContent = fault;
      else done(said);
    });
  }
  buttons[2].setAttribute("aria-expanded", "false");
  buttons[2].addEventListener("click", async () => {
    if (!form.childElementCount) {
      disable(true);
      const fault = await fill(form, decision).then(() => null, () => "the catalogue could not be read");
      disable(false);
      if (fault) {
        told.textContent = fault;
        return;
      }
    }
    form.hidden = !form.hidden;
    buttons[2].setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) form.querySelector("select").focus();
  });
  form.addEventListener("taken", () => { form.hidden = true; done("corrected"); });
  return [...buttons, told];
}

function labelled(text, field, className) {
  const label = element("label", className || "", text);
  label.append(field);
  return label;
}

function choice(values) {
  const select = element("select");
  for (const [value, text] of values) {
    const option = element("option", "", text);
    option.value = value;
    select.append(option);
  }
  return select;
}

function parameterField(parameter) {
  if (parameter.choices.length) return choice(parameter.choices.map((value) => [value, value]));
  const field = element("input");
  if (parameter.type === "number") {
    field.type = "number";
    field.step = "any";
    if (parameter.minimum !== null) field.min = parameter.minimum;
    if (parameter.maximum !== null) field.max = parameter.maximum;
  }
  if (parameter.default !== null) field.value = parameter.default;
  field.required = parameter.default === null;
  return field;
}

// The form that asks what was done instead: an action of the catalogue, within its bounds.
async function fill(form, decision) {
  const catalogue = await (await fetch("/v1/actions")).json();
  const names = Object.keys(catalogue).filter((name) => name !== "escalate_to_human");
  const action = choice(names.map((name) => [name, name.replaceAll("_", " ")]));
  const target = element("input");
  target.required = true;
  target.value = decision.action.target;
  const parameters = element("span", "fields wide");
  const button = element("button", "", "send");
  const worked = choice([["true", "yes"], ["false", "no"], ["null", "not known yet"]]);
  const comment = element("textarea");
  comment.rows = 2;
  const fault = element("span", "fault", "");
  fault.setAttribute("role", "alert");
  let fields = {};
  const choose = () => {
    fields = Object.fromEntries(Object.entries(catalogue[action.value].parameters).map(([name, parameter]) => [name, parameterField(parameter)]));
    parameters.replaceChildren(...Object.entries(fields).map(([name, field]) => {
      const parameter = catalogue[action.value].parameters[name];
      const unit = parameter.unit && !name.endsWith(parameter.unit) ? ` (${parameter.unit})` : "";
      return labelled(name.replaceAll("_", " ") + unit, field);
    }));
    parameters.hidden = !Object.keys(fields).length;
  };
  action.addEventListener("change", choose);
  form.append(labelled("What was done", action), labelled("on", target), labelled("Did it help?", worked), parameters,
    labelled("What others should know", comment, "wide"), button, fault);
  choose();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = {};
    for (const [name, field] of Object.entries(fields)) {
      if (field.value !== "") values[name] = field.type === "number" ? Number(field.value) : field.value;
    }
    button.disabled = true;
    const wrong = await send(decision.id, { verdict: "correct", worked: JSON.parse(worked.value), comment: comment.value || null,
      action: { name: action.value, target: target.value, parameters: values } });
    button.disabled = false;
    fault.textContent = wrong || "";
    if (!wrong) form.dispatchEvent(new Event("taken"));
  });
}

// One card an episode, with the newest decision. Not while somebody fills in the card's form: then it is left alone.
function show(decision) {
  if (shown.has(decision.id)) return;
  shown.add(decision.id);
  document.getElementById("empty").hidden = true;
  const cards = [...list.children];
  const other = cards.find((item) => item.dataset.episode === decision.episode_id && item.querySelector("form").hidden);
  if (other) {
    const newer = other.decision.revision < decision.revision;
    earlier.set(decision.episode_id, [...(earlier.get(decision.episode_id) || []), newer ? other.decision : decision]);
    if (!newer) decision = other.decision;
  }
  const made = card(decision);
  if (other) {
    made.querySelector("details").open = other.querySelector("details").open;
    other.remove();
  }
  // Newest first by their own time: the snapshot may come after what the feed has brought already.
  const older = [...list.children].find((item) => item.dataset.createdAt <= decision.created_at);
  list.insertBefore(made, older || null);
  while (list.children.length > MOST) {
    earlier.delete(list.lastChild.dataset.episode);
    list.lastChild.remove();
  }
}

// What anybody said of what is shown, also on another page and in Slack.
async function verdictsGiven() {
  const answer = await fetch(`/v1/feedback?limit=${MOST}`);
  if (!answer.ok) return;
  const words = { accept: "accepted", reject: "rejected", correct: "corrected" };
  for (const given of (await answer.json()).reverse()) {
    const when = given.created_at ? `, ${clock(given.created_at)}` : "";
    judged.set(given.decision_id, visible(`${words[given.verdict]}${given.author ? ` by ${given.author}` : ""}${when}`));
  }
  for (const item of list.children) {
    const told = item.querySelector(".verdict");
    const said = judged.get(item.decision.id);
    if (said && told.textContent !== said) told.textContent = said;
  }
}

async function snapshot() {
  const answer = await fetch(`/v1/decisions?limit=${MOST}`);
  if (answer.ok) (await answer.json()).reverse().forEach(show);
  await verdictsGiven();
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
  const token = wanted ? sessionStorage.getItem("relay-token") : null;
  if (wanted && !token) {
    askForToken();
    return;
  }
  const socket = new WebSocket(`${scheme}://${location.hostname}:${port}/ws/incidents?batch=1&types=decision${since}`);
  // In a message: an address is logged and remembered, a token must not be.
  socket.onopen = () => { if (token) socket.send(JSON.stringify({ type: "hello", token })); };
  socket.onmessage = (event) => {
    wait = 500;
    state("live", true);
    take(JSON.parse(event.data));
  };
  socket.onclose = (event) => {
    if (event.code === 4401) {
      sessionStorage.removeItem("relay-token");
      askForToken();
      return;
    }
    state("connection lost, trying again …", false);
    setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 10000);
  };
}

const wanted = document.querySelector("meta[name=relay-token]").content === "wanted";
const asking = document.getElementById("token");

function askForToken() {
  state("the feed asks for a token", false);
  asking.hidden = false;
  snapshot();
}

asking.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("relay-token", asking.elements.token.value);
  asking.reset();
  asking.hidden = true;
  connect();
});

document.getElementById("example").textContent =
  `curl -X POST ${location.origin}/v1/anomalies -d '{"error_type": "database_timeout", "spike_percentage": 450}'`;
connect();
counts();
setInterval(counts, 3000);
setInterval(verdictsGiven, 15000);
