"use strict";
// A plain rendering of the OpenAPI description: every path, what it does, what it takes.
async function render() {
  const main = document.getElementById("docs");
  const description = await (await fetch("/docs/openapi.json")).json();
  main.replaceChildren();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const title = document.createElement("h2");
      title.textContent = `${method.toUpperCase()} ${path}`;
      const text = document.createElement("p");
      text.textContent = operation.summary || "";
      const takes = document.createElement("code");
      takes.textContent = (operation.parameters || [])
        .map((item) => `${item.name}${item.required ? "" : "?"} (${item.in})`).join("  ");
      main.append(title, text, takes);
    }
  }
}
render();
