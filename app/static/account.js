// The panel "your token": gets an access token for this browser, shows what it
// says, and calls the protected API with it. The token lives in memory alone.

import { Foxtrot } from "/foxtrot.js";

const foxtrot = new Foxtrot({ services: [location.origin] });
const panel = document.getElementById("token-panel");
const part = (id) => document.getElementById(id);
let goesTo = "/login?next=/account";
let clock = null;

for (const hidden of document.querySelectorAll("[data-needs-script]")) hidden.hidden = false;
part("fetch-token").addEventListener("click", () => attempt(fetchToken));
part("call-api").addEventListener("click", () => attempt(callApi));
part("sign-out").addEventListener("submit", signOut);
foxtrot.addEventListener("change", () => {
  if (!foxtrot.signedIn) location.assign(goesTo);
  else if (!part("token-view").hidden) attempt(show);
});

async function attempt(action) {
  part("problem").hidden = true;
  try {
    await action();
  } catch (error) {
    part("problem").textContent = error.message;
    part("problem").hidden = false;
  }
}

async function fetchToken() {
  await foxtrot.token({ renew: true });
  await show();
}

async function show() {
  const token = await foxtrot.token();
  const [header, claims] = token.split(".").slice(0, 2).map(decode);
  part("token-header").textContent = JSON.stringify(header, null, 2);
  part("token-claims").textContent = JSON.stringify(claims, null, 2);
  part("token-text").textContent = token;
  part("token-view").hidden = false;
  part("call-api").disabled = false;
  part("fetch-token").textContent = "Get a new token";
  part("fetch-token").classList.remove("primary");
  part("call-api").classList.add("primary");
  const lifetime = claims.exp - claims.iat;
  clearInterval(clock);
  clock = setInterval(() => countDown(lifetime), 250);
  countDown(lifetime);
}

function countDown(lifetime) {
  const left = Math.ceil(foxtrot.expiresIn);
  const seconds = String(left % 60).padStart(2, "0");
  part("countdown").textContent = left ? `Expires in ${Math.floor(left / 60)}:${seconds}` : "Expired";
  part("life").value = left / lifetime;
}

async function callApi() {
  const response = await foxtrot.fetch(panel.dataset.api);
  const body = await response.text();
  const token = await foxtrot.token();
  const short = `${token.slice(0, 16)}…${token.slice(-8)}`;
  part("request").textContent =
    `GET ${panel.dataset.api} HTTP/1.1\nHost: ${location.host}\nAuthorization: Bearer ${short}`;
  const type = response.headers.get("Content-Type");
  part("answer").textContent =
    `HTTP/1.1 ${response.status} ${response.statusText}\nContent-Type: ${type}\n\n${pretty(body)}`;
  part("call-view").hidden = false;
}

function signOut(event) {
  event.preventDefault();
  goesTo = "/login";
  foxtrot.logout().catch(() => event.target.submit());
}

function decode(segment) {
  const bytes = Uint8Array.from(
    atob(segment.replaceAll("-", "+").replaceAll("_", "/")),
    (character) => character.charCodeAt(0),
  );
  return JSON.parse(new TextDecoder().decode(bytes));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
