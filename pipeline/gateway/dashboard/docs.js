"use strict";
// A plain rendering of the OpenAPI description: every path, what it does, what it takes.
let components = {};
const BELOW = 3; // levels of objects in objects

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// A schema without its references and without the null that stands for "may be left out".
function resolved(schema) {
  if (schema.$ref) return components[schema.$ref.split("/").pop()] || {};
  const one = (schema.anyOf || []).filter((item) => item.type !== "null");
  if (one.length === 1) return { ...schema, anyOf: undefined, ...resolved(one[0]) };
  return schema;
}

function type(schema) {
  const plain = resolved(schema);
  if (plain.anyOf) return plain.anyOf.map(type).join(" or ");
  const values = (plain.enum || []).filter((value) => value !== null);
  if (values.length) return values.map((value) => JSON.stringify(value)).join(" | ");
  if (plain.type === "array") return `list of ${type(plain.items || {})}`;
  if (plain.additionalProperties) return `object of ${type(plain.additionalProperties)}`;
  const name = [plain.type].flat().filter((item) => item && item !== "null").join(" or ") || "anything";
  return plain.format === "date-time" ? "time (RFC 3339)" : name;
}

function limits(schema) {
  const plain = resolved(schema);
  const found = [];
  const within = (least, most, unit) => {
    if (least !== undefined && most !== undefined) found.push(`${least} to ${most}${unit}`);
    else if (least !== undefined) found.push(`at least ${least}${unit}`);
    else if (most !== undefined) found.push(`at most ${most}${unit}`);
  };
  within(plain.minimum, plain.maximum, "");
  within(plain.minLength, plain.maxLength, " characters");
  if (plain.default !== undefined && plain.default !== "") found.push(`default ${JSON.stringify(plain.default)}`);
  return found.join(", ");
}

function line(name, schema, required, where, description) {
  const item = element("div", undefined, "facts");
  const about = [type(schema), limits(schema), required ? "required" : "", where, description || ""];
  item.append(element("code", name), ` ${about.filter(Boolean).join("; ")}`);
  return item;
}

// Each field of an object, those of objects in it with their path before them.
function fields(schema, before, depth) {
  const plain = resolved(schema);
  const found = [];
  for (const [name, field] of Object.entries(plain.properties || {})) {
    const required = (plain.required || []).includes(name);
    found.push(line(before + name, field, required, "", field.description));
    if (depth < BELOW) found.push(...fields(field, `${before}${name}.`, depth + 1));
  }
  return found;
}

function body(operation) {
  const content = Object.values(operation.requestBody?.content || {})[0];
  if (!content) return [];
  const one = content.schema.anyOf ? content.schema.anyOf[0] : content.schema;
  const several = content.schema.anyOf ? "Body, JSON: one, or a list of such" : "Body, JSON";
  return [element("p", several, "facts"), ...fields(one, "", 1)];
}

async function render() {
  const main = document.getElementById("docs");
  const answer = await fetch("/docs/openapi.json");
  if (!answer.ok) throw new Error(answer.status);
  const description = await answer.json();
  components = description.components.schemas;
  const schemes = Object.values(description.components.securitySchemes);
  main.replaceChildren(...schemes.map((one) => element("p", `Authorization: ${one.scheme}; ${one.description}`, "facts")));
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      main.append(element("h2", `${method.toUpperCase()} ${path}`), element("p", operation.summary || ""));
      for (const item of operation.parameters || []) {
        main.append(line(item.name, item.schema, item.required, `in the ${item.in}`, item.description));
      }
      main.append(...body(operation));
    }
  }
}

function unread() {
  const said = "The description cannot be read: PulseGuard does not answer. Load this page again.";
  document.getElementById("docs").replaceChildren(element("p", said, "empty"));
}
render().catch(unread);
