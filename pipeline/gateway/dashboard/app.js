import { apiToken, get } from "./api.js";
import { busy } from "./decision.js";
import { lookedAt, makeCard, updateCard } from "./card.js";
import { addressOf, asked, filterOf, goesOn, lacks, learn, rootOf, stateOf, wanted } from "./situations.js";
import { arrange, clock, percentOf, say } from "./text.js";
import { tokenOf } from "./token.js";
import { verdictsGiven } from "./verdict.js";

const MOST = 200; // situations
const MEMBERS = 100; // episodes of each that are listed
const TOGETHER = 50; // episodes whose decisions are asked for at once
const PAUSE = 1500; // milliseconds between two refreshes, in whatever storm
const EVERY = 10000; // milliseconds: what the feed does not tell, such as the end of an episode
const list = document.getElementById("list");
const filtering = document.getElementById("filter");
const relayToken = tokenOf("relay-token");
const cards = new Map(); // situation → its card
const lost = { feed: null, http: null }; // since when
let situations = null;
let filter = filterOf(location.search);
let cursor = null;
let wait = 500;
let idle = true;
let news = false;

// Something is new: read it, at once after silence, and never more often than the pause allows.
function soon() {
  news = true;
  if (!idle || document.hidden) return;
  idle = false;
  news = false;
  const began = performance.now();
  read().then(() => "http", () => null).then((served) => {
    lost.http = served || (apiToken.asks() && !situations) ? null : lost.http || new Date();
    connection();
    // A gateway that takes long is asked less often.
    setTimeout(() => { idle = true; if (news) soon(); }, Math.max(PAUSE, 4 * (performance.now() - began)));
  });
}

// What the record has is what is shown; the feed only says when to look, and saves asking for its decisions.
async function read() {
  const found = await get(`/v1/situations?limit=${MOST}&episodes=${MEMBERS}`);
  if (filter.situation && !found.some((situation) => situation.id === filter.situation))
    found.push(...await get(`/v1/situations?episodes=${MEMBERS}&id=${encodeURIComponent(filter.situation)}`)); // an older one
  situations = found;
  const open = [...cards.values()].flatMap(lookedAt).map((episode) => [episode.id, episode]);
  const roots = situations.map(rootOf).map((episode) => [episode.id, episode]);
  await decisions([...new Map([...open, ...roots]).values()]);
  render();
}

async function decisions(episodes) {
  const missing = episodes.filter(lacks);
  for (let start = 0; start < missing.length; start += TOGETHER) {
    const some = missing.slice(start, start + TOGETHER);
    (await get(`/v1/decisions?limit=500&${some.map((episode) => `episode=${encodeURIComponent(episode.id)}`).join("&")}`)).forEach(learn);
    some.forEach(asked);
  }
}

const readEpisode = (episode) => decisions([episode]).catch(() => {});

function render() {
  if (!situations) return;
  const text = filter.q.trim();
  const listed = new Set(situations.map((situation) => situation.id));
  for (const id of [...cards.keys()]) if (!listed.has(id)) cards.delete(id);
  const shown = situations.filter((situation) => wanted(situation, filter) || (cards.has(situation.id) && busy(cards.get(situation.id))));
  arrange(list, shown.map((situation) => {
    const card = cards.get(situation.id) || makeCard(readEpisode);
    cards.set(situation.id, card);
    updateCard(card, situation, text, readEpisode);
    return card;
  }));
  const active = situations.filter((situation) => goesOn(stateOf(situation))).length;
  const all = situations.length >= MOST ? `the ${MOST} newest situations` : `${situations.length} situation${situations.length === 1 ? "" : "s"}`;
  const some = Object.values(filter).some(Boolean);
  say(document.getElementById("found"), situations.length ? `${some ? `${shown.length} of ` : ""}${all}, ${active} ${active === 1 ? "goes" : "go"} on${some && !shown.length ? ". Nothing fits the filter." : ""}` : "");
  document.getElementById("empty").hidden = situations.length > 0;
  filtering.hidden = situations.length === 0;
  document.getElementById("clear").hidden = !some;
}

function fillFilter() {
  for (const field of filtering.querySelectorAll("[name]")) field.value = filter[field.name];
}

function refilter() {
  for (const field of filtering.querySelectorAll("[name]")) filter[field.name] = field.value;
  history.replaceState(null, "", addressOf(filter));
  render();
}

async function counts() {
  if (document.hidden) return;
  const stats = await get("/v1/stats").catch(() => null);
  if (!stats) return;
  for (const name of ["anomalies", "open_episodes", "decisions", "incidents", "median_latency_ms"]) {
    const value = stats[name];
    document.getElementById(name).textContent = value === null ? "–" : Math.round(value).toLocaleString();
  }
  const held = document.getElementById("judged_right");
  held.parentElement.hidden = !stats.judged;
  if (!stats.judged) return;
  held.textContent = `${percentOf(stats.judged_right / stats.judged)} %`;
  document.getElementById("judged").textContent = stats.judged.toLocaleString();
  document.getElementById("judged_confidence").textContent = percentOf(stats.judged_confidence);
}

function take(message) {
  if (message.cursor) cursor = message.cursor;
  if (message.type === "batch") message.events.forEach(take);
  else if (message.type === "decision") learn(message.data);
  else if (message.type !== "system") return;
  soon();
}

function state(text, live) {
  const node = document.getElementById("state");
  say(node, text);
  node.classList.toggle("live", live);
}

// What a lost connection means for who looks at the page.
function connection() {
  const told = document.getElementById("lost");
  if (lost.http && apiToken.asks()) say(told, `The API asks for a token since ${clock(lost.http)}: what you see is of then.`);
  else if (lost.http) say(told, `PulseGuard does not answer since ${clock(lost.http)}: what you see is of then. What goes on may have changed, and a verdict cannot be given. The page tries again by itself.`);
  else if (lost.feed) say(told, `No live feed since ${clock(lost.feed)}: the page asks every ${EVERY / 1000} seconds instead, so what is new comes later. Nothing is missing.`);
  told.hidden = !(lost.http || lost.feed);
}

function connect() {
  const port = document.querySelector("meta[name=relay-port]").content;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const since = cursor ? `&since=${encodeURIComponent(cursor)}` : "";
  const token = relayToken.value();
  if (relayToken.asks()) {
    state("the feed asks for a token", false);
    soon();
    return;
  }
  const socket = new WebSocket(`${scheme}://${location.hostname}:${port}/ws/incidents?batch=1&types=decision${since}`);
  // In a message: an address is logged and remembered, a token must not be.
  socket.onopen = () => { if (token) socket.send(JSON.stringify({ type: "hello", token })); };
  socket.onmessage = (event) => {
    wait = 500;
    lost.feed = null;
    connection();
    state("live", true);
    take(JSON.parse(event.data));
  };
  socket.onclose = (event) => {
    if (event.code === 4401) {
      relayToken.refused(token);
      connect();
      return;
    }
    state("connection lost, trying again …", false);
    lost.feed ||= new Date();
    connection();
    soon();
    setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 10000);
  };
}

filtering.addEventListener("input", refilter);
filtering.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("clear").addEventListener("click", () => {
  filter = filterOf("");
  fillFilter();
  refilter();
  filtering.elements.q.focus();
});
window.addEventListener("popstate", () => {
  filter = filterOf(location.search);
  fillFilter();
  render();
});
list.addEventListener("left", render);
document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });

fillFilter();
const verdicts = () => verdictsGiven().catch(() => {});
function begin() {
  document.getElementById("example").textContent =
    `curl -X POST ${location.origin}/v1/anomalies ${apiToken.value() ? '-H "Authorization: Bearer $API_TOKEN" ' : ""}-d '{"error_type": "database_timeout", "spike_percentage": 450}'`;
  counts();
  verdicts().then(soon);
}
relayToken.whenGiven(connect);
apiToken.whenGiven(begin);
connect();
begin();
setInterval(counts, 3000);
setInterval(soon, EVERY);
setInterval(verdicts, 15000);
