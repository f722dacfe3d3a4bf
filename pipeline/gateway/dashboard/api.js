import { tokenOf } from "./token.js";

export const apiToken = tokenOf("api-token");

// Ask the gateway, with the token where it wants one: in a header, as bytes of UTF-8, to where the page is from.
export async function ask(path, options = {}) {
  if (apiToken.asks()) throw new Error(`${path}: the API asks for a token`);
  const shown = apiToken.value();
  const bytes = shown && String.fromCharCode(...new TextEncoder().encode(shown));
  const answer = await fetch(path, { ...options, headers: { ...options.headers, ...(shown && { Authorization: `Bearer ${bytes}` }) } });
  if (answer.status === 401) apiToken.refused(shown);
  return answer;
}

// What the gateway answers; an error where it does not.
export async function get(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}
