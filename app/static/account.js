// The panel "your token": gets an access token for this browser, shows what it
// says, and calls the protected API with it. The token lives in this module's
// memory and nowhere else.

const panel = document.getElementById("token-panel");
const part = (id) => document.getElementById(id);
let token = null;
let clock = null;

for (const hidden of document.querySelectorAll("[data-needs-script]")) hidden.hidden = false;
part("fetch-token").addEventListener("click", () => attempt(fetchToken));
part("call-api").addEventListener("click", () => attempt(callApi));

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
  const response = await fetch(panel.dataset.token, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "{}",
  });
  const body = await response.json();
  if (response.status === 401) return location.assign("/login?next=/account");
  if (!response.ok) throw new Error(body.detail);
  token = body.access_token;
  show(body.expires_in);
}

function show(lifetime) {
  const [header, claims] = token.split(".").slice(0, 2).map(decode);
  part("token-header").textContent = JSON.stringify(header, null, 2);
  part("token-claims").textContent = JSON.stringify(claims, null, 2);
  part("token-text").textContent = token;
  part("token-view").hidden = false;
  part("call-api").disabled = false;
  part("fetch-token").textContent = "Get a new token";
  part("fetch-token").classList.remove("primary");
  part("call-api").classList.add("primary");
  const end = performance.now() + lifetime * 1000;
  clearInterval(clock);
  clock = setInterval(() => countDown(end, lifetime), 250);
  countDown(end, lifetime);
}

function countDown(end, lifetime) {
  const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
  const seconds = String(left % 60).padStart(2, "0");
  part("countdown").textContent = left ? `Expires in ${Math.floor(left / 60)}:${seconds}` : "Expired";
  part("life").value = left / lifetime;
  if (!left) clearInterval(clock);
}

async function callApi() {
  const response = await fetch(panel.dataset.api, { headers: { Authorization: `Bearer ${token}` } });
  const body = await response.text();
  const short = `${token.slice(0, 16)}…${token.slice(-8)}`;
  part("request").textContent =
    `GET ${panel.dataset.api} HTTP/1.1\nHost: ${location.host}\nAuthorization: Bearer ${short}`;
  const type = response.headers.get("Content-Type");
  part("answer").textContent =
    `HTTP/1.1 ${response.status} ${response.statusText}\nContent-Type: ${type}\n\n${pretty(body)}`;
  part("call-view").hidden = false;
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
