// What a browser sees at the GraphQL endpoint: a small page that says what this is and sends one query. It loads nothing from elsewhere, and the token stays
// in the address's fragment, which browsers do not send.

import { createHash } from "node:crypto";

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem; color: #1c2430; background: #fafbfc; }
textarea, input, pre { width: 100%; box-sizing: border-box; font: 13px/1.45 ui-monospace, monospace; border: 1px solid #ccd3dc; border-radius: 6px; padding: .6rem; background: #fff; }
textarea { height: 11rem; } pre { min-height: 6rem; overflow: auto; white-space: pre-wrap; } button { padding: .45rem 1.2rem; } label { display: block; margin: .8rem 0 .2rem; }
`;

const SCRIPT = `
const at = (id) => document.getElementById(id);
at("token").value = new URLSearchParams(location.hash.slice(1)).get("token") || "";
at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("answer").textContent = "…";
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  if (at("token").value) headers.authorization = "Bearer " + at("token").value;
  try {
    const response = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify({ query: at("query").value }) });
    at("answer").textContent = JSON.stringify(await response.json(), null, 2);
  } catch (error) {
    at("answer").textContent = String(error);
  }
});
`;

const QUERY = `{
  viewer { name role }
  agents { name status queues { name running concurrency } }
  pipelines(first: 10) { edges { node { id name status stageCounts createdAt } } }
}`;

export const LANDING_PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Trainyard GraphQL</title><meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>
<h1>Trainyard</h1>
<p>This is the GraphQL endpoint: POST for queries and mutations, WebSocket (graphql-transport-ws) or an event stream for subscriptions, all on this path.
Every request carries a token, as <code>Authorization: Bearer …</code> or as <code>authorization</code> in the WebSocket's connection parameters. The schema can be asked for, and lies in <code>schema.graphql</code>.</p>
<form id="form">
<label for="token">Token</label><input id="token" type="password" autocomplete="off" spellcheck="false">
<label for="query">Query</label><textarea id="query" spellcheck="false">${QUERY}</textarea>
<p><button>Send</button></p>
</form>
<pre id="answer" aria-live="polite"></pre>
<script>${SCRIPT}</script></body></html>
`;

const sha256 = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

export const LANDING_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": `default-src 'none'; connect-src 'self'; script-src ${sha256(SCRIPT)}; style-src ${sha256(STYLE)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};
