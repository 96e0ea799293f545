/**
 * The browser client of a Foxtrot login service: sign in once, call every service.
 * docs/browser.md shows its use. The access token is kept in memory and nowhere else.
 *
 * new Foxtrot({ issuer, services, audience, scope })
 *   issuer            origin of the login service; by default, where this module comes from
 *   services          origins that may get the token; by default, none
 *   audience, scope   what the token is wanted for; by default, all
 * login(email, password), logout()   sign in and out, in all tabs
 * fetch(url, init)         window.fetch with the token; follows no redirect, sends no cookie
 * token({ renew })         the text of a valid token; of a new one, if `renew` is true
 * signedIn, expiresIn      whether there is a token; for how many seconds it is valid
 * event "change"           there is another token, or nobody is signed in any more
 */

const HOME = new URL(import.meta.url).origin;
const ASK = 200; // ms, for an answer of another tab
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const random = () => crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
const age = (token) => Math.abs(Date.now() - token.at); // negative: the clock was set back
const isFresh = (token) => token && age(token) < Math.min(token.due, token.end);

/** The login service refused, or did not answer (status 0); `retryAfter` is in seconds. */
export class FoxtrotError extends Error {
  constructor({ status, code, detail, retryAfter }) {
    super(detail);
    Object.assign(this, { status, code, detail, retryAfter });
  }
}

export class Foxtrot extends EventTarget {
  #issuer; #services; #wish; #lock; #channel; #renewal; #timer;
  #token = null; // { text, iat, at, life, end, due }, see #request
  #pause = { until: 0, error: null };

  constructor({ issuer = HOME, services = [], audience, scope, ...unknown } = {}) {
    super();
    for (const name in unknown) throw new TypeError(`Foxtrot has no option \`${name}\`.`);
    if (!Array.isArray(services)) throw new TypeError("`services` must be an array of origins.");
    this.#issuer = checkedOrigin(issuer);
    this.#services = services.map(checkedOrigin);
    this.#wish = JSON.stringify({ audience, scope });
    const name = `foxtrot ${issuer}`;
    this.#lock = navigator.locks ? (work) => navigator.locks.request(name, work) : election(name);
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    for (const type of ["visibilitychange", "pageshow"]) addEventListener(type, () => this.#tick());
  }

  get signedIn() { return this.#token !== null; }
  get expiresIn() {
    return this.#token ? Math.max(0, this.#token.life - age(this.#token)) / 1000 : 0;
  }

  login(email, password) {
    return this.#lock(async () => {
      const token = await this.#request("/auth/login", { email, password, session: "cookie" });
      this.#tell({ token, isLogin: true });
    });
  }

  logout() {
    return this.#lock(async () => {
      await this.#post("/auth/logout");
      this.#tell({ error: { status: 401, code: "session_ended", detail: "You signed out." } });
    });
  }

  async token({ renew = false } = {}) {
    if (renew && this.#token) this.#token.due = 0;
    return (await (renew ? this.#renew() : this.#usable())).text;
  }

  async fetch(url, init) {
    const redirect = init?.redirect === "manual" ? "manual" : "error"; // the token would follow
    const given = new Request(url, { credentials: "omit", ...init, redirect });
    const { origin } = new URL(given.url);
    if (!this.#services.includes(origin)) throw new TypeError(`${origin} is not in \`services\`.`);
    for (let isRepeated = false; ; isRepeated = true) {
      const token = await this.#usable();
      const request = given.clone();
      request.headers.set("Authorization", `Bearer ${token.text}`);
      const response = await fetch(request);
      const isRefused = /\binvalid_token\b/.test(response.headers.get("WWW-Authenticate"));
      if (isRepeated || response.status !== 401 || !isRefused) return response;
      token.at -= token.life; // it has expired, whatever it says
    }
  }

  async #usable() {
    if (this.#token && age(this.#token) < this.#token.end) return this.#token;
    return this.#renew().catch((error) => {
      if (this.expiresIn === 0) throw error;
      return this.#token;
    });
  }

  #renew() {
    this.#renewal ??= this.#lock(() => this.#obtain()).finally(() => { this.#renewal = null; });
    return this.#renewal;
  }

  async #obtain() {
    const isSettled = () => isFresh(this.#token) || performance.now() < this.#pause.until;
    if (!isSettled()) {
      const change = new Promise((done) => this.addEventListener("change", done, { once: true }));
      this.#tell({ isQuestion: true });
      await Promise.race([change, sleep(ASK)]);
    }
    if (!isSettled()) {
      const renewed = this.#request("/auth/token", {});
      this.#tell(await renewed.then((token) => ({ token }), (error) => ({ error: { ...error } })));
    }
    if (!isFresh(this.#token)) throw this.#pause.error;
    return this.#token;
  }

  async #request(path, body) {
    const { access_token: text } = await this.#post(path, { ...body, ...JSON.parse(this.#wish) });
    const payload = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { iat, exp } = JSON.parse(atob(payload));
    const life = (exp - iat) * 1000;
    const end = life * 0.98 - 1000; // requests take time, and `iat` is in whole seconds
    const due = life * 0.8 + random() * (end - life * 0.8); // so that a thief cannot aim
    return { text, iat, at: Date.now(), life, end, due };
  }

  async #post(path, body) {
    const answer = await fetch(this.#issuer + path, {
      method: "POST", credentials: "include", signal: AbortSignal.timeout(10_000),
      headers: body && { "Content-Type": "application/json" }, body: JSON.stringify(body),
    }).catch(() => Response.error());
    const content = await answer.json().catch(() => ({}));
    if (answer.status === 204 || content.access_token) return content;
    const isOwn = this.#issuer === location.origin;
    const doubt = isOwn ? "" : `, or does not list ${location.origin} in FOXTROT_ORIGINS`;
    const { code = "unreachable", detail = `${this.#issuer} does not answer${doubt}.` } = content;
    const retryAfter = Number(answer.headers.get("Retry-After")) || undefined;
    throw new FoxtrotError({ status: answer.status, code, detail, retryAfter });
  }

  #tell(message) {
    this.#channel.postMessage({ ...message, wish: this.#wish });
    this.#hear({ ...message, wish: this.#wish });
  }

  #hear({ wish, isQuestion, isLogin, token, error }) {
    const [isMine, isSignOut] = [wish === this.#wish, error?.status === 401];
    if (isLogin) this.#pause.until = 0;
    if (isLogin && this.#token) this.#token.at -= this.#token.life; // perhaps another person's
    if (isQuestion && isMine && isFresh(this.#token)) this.#tell({ token: this.#token });
    if (isSignOut || (error && isMine)) {
      const pause = 1000 * Math.max(1, error.retryAfter ?? 0);
      this.#pause = { until: performance.now() + pause, error: new FoxtrotError(error) };
      if (this.#token) this.#token.due = age(this.#token) * (1 + random() / 20) + pause;
    }
    const isLate = performance.now() < this.#pause.until && this.#pause.error.status === 401;
    const isOlder = isLate || (isFresh(this.#token) && token?.iat < this.#token.iat);
    const isNew = isMine && token && token.text !== this.#token?.text && !isOlder;
    if (isSignOut || isNew) {
      this.#token = isSignOut ? null : token;
      this.dispatchEvent(new Event("change"));
    }
    this.#tick();
  }

  #tick() { // at least once a minute: timers stand still while the computer sleeps
    clearTimeout(this.#timer);
    if (!this.#token) return;
    const wait = this.#token.due - age(this.#token);
    if (wait <= 0) this.#renew().catch(() => {});
    this.#timer = setTimeout(() => this.#tick(), Math.min(Math.max(wait, 1000), 60_000));
  }
}

function checkedOrigin(text) {
  if (URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text) return text;
  throw new TypeError(`${text} is not an origin, such as https://notes.example.com`);
}

/** Stands in for navigator.locks on plain http: who wants it says a number, the lowest has it. */
function election(name) {
  const channel = new BroadcastChannel(`${name} election`);
  let [number, isBeaten, queue] = [Infinity, false, Promise.resolve()];
  channel.onmessage = ({ data }) => {
    if (data < number) isBeaten = true;
    else channel.postMessage(number);
  };
  const hold = async (work) => {
    number = 1 + random();
    do {
      isBeaten = false;
      channel.postMessage(number);
      await sleep(ASK);
    } while (isBeaten);
    number = random(); // below every other's until it is done
    return work().finally(() => { number = Infinity; });
  };
  return (work) => (queue = queue.then(() => hold(work), () => hold(work)));
}
