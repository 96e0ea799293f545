// Notes for Node.js: a small service whose users log in with Foxtrot.
//
// Each user sees only their own notes, which live as long as the process. What has to do with
// tokens is in guard.mjs and status.mjs; no web framework is needed for it.

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { createGuard, Refusal } from "./guard.mjs";

const MAX_BODY_BYTES = 64 * 1024;

export function createNotes({ issuer, audience }) {
  const guard = createGuard({ issuer, audience });
  const kept = new Map();

  async function route(request) {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/healthz") return [200, { status: "ok" }];
    if (pathname !== "/notes") throw new Refusal(404, "There is nothing here.");
    if (request.method === "POST") {
      const { subject } = await guard(request, "notes:write");
      const text = await textOf(request);
      kept.set(subject, [...(kept.get(subject) ?? []), text]);
      return [201, { text }];
    }
    const { subject } = await guard(request, "notes:read");
    return [200, { notes: kept.get(subject) ?? [] }];
  }

  return createServer((request, response) => {
    route(request)
      .catch((error) => refusal(error, response))
      .then(([status, body]) => {
        response.writeHead(status, { "Content-Type": "application/json" });
        response.end(JSON.stringify(body));
      });
  });
}

function refusal(error, response) {
  if (!(error instanceof Refusal)) {
    console.error(error);
    return [500, { detail: "Something failed here." }];
  }
  if (error.status === 503) response.setHeader("Retry-After", "5");
  if ([401, 403].includes(error.status)) response.setHeader("WWW-Authenticate", error.challenge);
  return [error.status, { detail: error.message }];
}

async function textOf(request) {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) {
    body += chunk;
    if (body.length > MAX_BODY_BYTES) throw new Refusal(413, "The body is too long.");
  }
  try {
    const { text } = JSON.parse(body);
    if (typeof text === "string" && text !== "") return text;
  } catch {
    // answered below
  }
  throw new Refusal(400, 'Send {"text": "…"}.');
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { NOTES_ISSUER, NOTES_AUDIENCE, PORT } = process.env;
  const issuer = NOTES_ISSUER ?? "http://localhost:5000";
  const port = Number(PORT ?? 5003);
  const notes = createNotes({ issuer, audience: NOTES_AUDIENCE ?? "notes" });
  notes.listen(port, "localhost", () => {
    console.log(`Notes are at http://localhost:${port}/notes, for users of ${issuer}`);
  });
}
