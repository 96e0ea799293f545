// Who calls, and may they? Access tokens by the jose package (RFC 9068, RFC 8725).
//
//   const guard = await createGuard({ issuer: "http://localhost:5000", audience: "notes" });
//   const token = await guard(request, "notes:read");   // or throws a Refusal
//
// The issuer is asked for its keys, and for which sessions have ended, beside the requests.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { createStatusLists } from "./status.mjs";

const MAX_TOKEN_CHARACTERS = 8192;

export class Refusal extends Error {
  constructor(status, message, challenge = "") {
    super(message);
    this.status = status;
    this.challenge = `Bearer realm="notes"${challenge}`;
  }
}

export function createGuard({ issuer, audience }) {
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
  const ended = createStatusLists({ issuer, keys });

  return async function guard(request, scope) {
    const text = bearerToken(request);
    const claims = await verified(text, keys, { issuer, audience });
    if (await ended(claims)) throw invalid("The session has ended.");
    if (!scopesOf(claims).includes(scope)) {
      const said = `, error="insufficient_scope", scope="${scope}"`;
      throw new Refusal(403, `This needs ${scope}.`, said);
    }
    return { subject: claims.sub, scopes: scopesOf(claims) };
  };
}

function bearerToken(request) {
  const match = /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(request.headers.authorization ?? "");
  if (match === null) throw new Refusal(401, "Send an access token in the Authorization header.");
  if (match[1].length > MAX_TOKEN_CHARACTERS) throw invalid("The token is too long.");
  return match[1];
}

async function verified(text, keys, { issuer, audience }) {
  try {
    const { payload } = await jwtVerify(text, keys, {
      issuer,
      audience,
      typ: "at+jwt",
      algorithms: ["ES256", "EdDSA", "RS256"],
      requiredClaims: ["iss", "aud", "sub", "exp", "iat", "jti"],
      maxTokenAge: "1 day", // also refuses an `iat` that lies in the future
      clockTolerance: 30,
    });
    requireClaimTypes(payload, issuer, audience);
    return payload;
  } catch (error) {
    if (error instanceof errors.JOSEError && !isOurs(error)) throw invalid(error.message);
    if (error instanceof errors.JOSEError) throw new Refusal(503, "The keys cannot be had now.");
    throw error;
  }
}

// What jose leaves to us: texts that are texts, and one user in one token.
function requireClaimTypes(claims, issuer, audience) {
  const names = [claims.aud].flat();
  const isGood =
    claims.iss === issuer &&
    names.length > 0 &&
    names.every((name) => typeof name === "string") &&
    names.includes(audience) &&
    [claims.sub, claims.jti].every((text) => typeof text === "string" && text !== "") &&
    (claims.uid === undefined || claims.uid === claims.sub) &&
    (claims.scope === undefined || typeof claims.scope === "string");
  if (!isGood) throw invalid("A claim has a wrong type or an impossible value.");
}

function scopesOf(claims) {
  return (claims.scope ?? "").split(" ").filter(Boolean);
}

// The issuer's answer was late or broken: nobody's token is bad for that.
function isOurs(error) {
  return error instanceof errors.JWKSTimeout || error.code === "ERR_JOSE_GENERIC";
}

function invalid(message) {
  return new Refusal(401, message, ', error="invalid_token"');
}
