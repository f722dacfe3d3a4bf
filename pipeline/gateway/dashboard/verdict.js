import { apiToken, ask, get } from "./api.js";
import { choice, clock, element, labelled, say, visible } from "./text.js";

const judged = new Map(); // decision → the newest verdict on it, in words

export const verdictOn = (id) => judged.get(id) || "";

// What anybody said, also on another page and in Slack; the newest 200.
export async function verdictsGiven() {
  const words = { accept: "accepted", reject: "rejected", correct: "corrected" };
  for (const given of (await get("/v1/feedback?limit=200")).reverse()) {
    const when = given.created_at ? `, ${clock(given.created_at)}` : "";
    judged.set(given.decision_id, visible(`${words[given.verdict]}${given.author ? ` by ${given.author}` : ""}${when}`));
  }
  for (const told of document.querySelectorAll(".verdict")) {
    const said = judged.get(told.dataset.decision);
    if (said) say(told, said);
  }
}

// What is wrong, or null where the verdict is taken.
export async function send(id, verdict) {
  try {
    const answer = await ask(`/v1/decisions/${encodeURIComponent(id)}/feedback`,
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(verdict) });
    return answer.ok ? null : (await answer.json().catch(() => ({}))).detail || "not taken";
  } catch {
    return apiToken.asks() ? "not sent: the API asks for a token" : "not sent: PulseGuard does not answer";
  }
}

// Nobody fills it in any more: what waited for that may be shown.
function left(form) {
  form.dispatchEvent(new Event("left", { bubbles: true }));
}

// Accept, reject, or say what was done instead. The last word counts: only what was said last is not offered again.
export function verdicts(decision, form) {
  const buttons = ["accept", "reject", "correct …"].map((text) => element("button", "", text));
  const told = element("span", "verdict", verdictOn(decision.id));
  told.dataset.decision = decision.id;
  told.setAttribute("role", "status");
  const disable = (yes) => { for (const button of buttons) button.disabled = yes; };
  const done = (text, place) => {
    judged.set(decision.id, text);
    say(told, text);
    if (place !== undefined) buttons[place].disabled = true;
  };
  for (const [place, said] of [[0, "accepted"], [1, "rejected"]]) {
    buttons[place].addEventListener("click", async () => {
      disable(true);
      const fault = await send(decision.id, { verdict: buttons[place].textContent });
      disable(false);
      if (fault) say(told, fault);
      else done(said, place);
    });
  }
  buttons[2].setAttribute("aria-expanded", "false");
  buttons[2].addEventListener("click", async () => {
    if (!form.childElementCount) {
      disable(true);
      const fault = await fill(form, decision).then(() => null, () => "the catalogue could not be read");
      disable(false);
      if (fault) {
        say(told, fault);
        return;
      }
    }
    form.hidden = !form.hidden;
    buttons[2].setAttribute("aria-expanded", String(!form.hidden));
    if (form.hidden) left(form);
    else form.querySelector("select").focus();
  });
  form.addEventListener("taken", () => {
    form.hidden = true;
    disable(false);
    done("corrected");
    left(form);
  });
  return [...buttons, told];
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
  const catalogue = await get("/v1/actions");
  const names = Object.keys(catalogue).filter((name) => name !== "escalate_to_human");
  const action = choice([["", "choose …"], ...names.map((name) => [name, name.replaceAll("_", " ")])]);
  action.required = true;
  const target = element("input");
  target.required = true;
  target.value = visible(decision.action.target);
  const parameters = element("span", "fields wide");
  const button = element("button", "", "send");
  const worked = choice([["true", "yes"], ["false", "no"], ["null", "not known yet"]]);
  const comment = element("textarea");
  comment.rows = 2;
  const fault = element("span", "fault", "");
  fault.setAttribute("role", "alert");
  let fields = {};
  const choose = () => {
    const known = catalogue[action.value]?.parameters ?? {};
    fields = Object.fromEntries(Object.entries(known).map(([name, parameter]) => [name, parameterField(parameter)]));
    parameters.replaceChildren(...Object.entries(fields).map(([name, field]) => {
      const parameter = known[name];
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
    say(fault, wrong || "");
    if (!wrong) form.dispatchEvent(new Event("taken"));
  });
}
