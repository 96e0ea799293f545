// Which sessions have ended: the issuer's Token Status Lists (draft-ietf-oauth-status-list).
//
// A token names a list and a place in it. A list is fetched when the first token names it, and
// then again whenever it is older than its `ttl`; one fetch serves all who wait. While it cannot
// be had, the last one counts; without any, tokens count until they expire.

import { promisify } from "node:util";
import { inflate } from "node:zlib";
import { jwtVerify } from "jose";

const FETCH_MILLISECONDS = 1000;
const MAX_BYTES = 128 * 1024;
const UNKNOWN = { bits: null, width: 1, issuedAt: 0, staleAt: 0, fetching: null };
const unpack = promisify(inflate);

export function createStatusLists({ issuer, keys }) {
  const lists = new Map();

  return async function ended(claims) {
    if (claims.status === undefined) return false;
    const { idx, uri } = claims.status?.status_list ?? {};
    if (!Number.isSafeInteger(idx) || idx < 0 || typeof uri !== "string") return true;
    if (!uri.startsWith(`${issuer.replace(/\/$/, "")}/`)) return true;
    const list = lists.get(uri) ?? { ...UNKNOWN };
    lists.set(uri, list);
    if (Date.now() >= list.staleAt) await (list.fetching ??= refresh(list, uri, issuer, keys));
    return list.bits !== null && valueAt(list, idx) !== 0;
  };
}

async function refresh(list, uri, issuer, keys) {
  try {
    const answer = await fetch(uri, {
      headers: { Accept: "application/statuslist+jwt" },
      redirect: "error",
      signal: AbortSignal.timeout(FETCH_MILLISECONDS),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    await takeOver(list, await answer.text(), uri, keys);
  } catch (error) {
    console.warn(`The status list ${uri} cannot be had now: ${error.message}`);
    list.staleAt = Date.now() + FETCH_MILLISECONDS;
  } finally {
    list.fetching = null;
  }
}

async function takeOver(list, text, uri, keys) {
  const { payload } = await jwtVerify(text, keys, {
    typ: "statuslist+jwt",
    subject: uri,
    algorithms: ["ES256", "EdDSA", "RS256"],
    requiredClaims: ["sub", "iat", "status_list"],
  });
  const { bits, lst } = payload.status_list;
  if (![1, 2, 4, 8].includes(bits)) throw new Error("bits is not 1, 2, 4 or 8");
  const unpacked = await unpack(Buffer.from(lst, "base64url"), { maxOutputLength: MAX_BYTES });
  // An older list is fine if it says the same: workers of the issuer sign at times of their own.
  const isOlder = payload.iat < list.issuedAt;
  if (isOlder && !unpacked.equals(list.bits)) throw new Error("it is older than the one at hand");
  list.bits = unpacked;
  list.width = bits;
  list.issuedAt = Math.max(payload.iat, list.issuedAt);
  list.staleAt = Date.now() + 1000 * Math.min(payload.ttl ?? 10, 3600);
}

// Section 4 of the draft: the first status is in the lowest bits of the first byte.
function valueAt({ bits, width }, idx) {
  const perByte = 8 / width;
  const byte = bits[Math.floor(idx / perByte)];
  if (byte === undefined) return 1; // a place that is not in the list
  return (byte >> ((idx % perByte) * width)) & ((1 << width) - 1);
}
