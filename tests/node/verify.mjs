// Verifies access tokens as a service written for Node.js would, with keys from the JWK Set.
// node verify.mjs JWKS_URL ISSUER AUDIENCE, tokens on standard input, one a line; writes one line
// of JSON for each: {"claims": …, "header": …} or {"refused": "the error's code"}.

import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [url, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));

async function judge(token) {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer,
      audience,
      typ: "at+jwt",
      requiredClaims: ["sub", "exp", "iat", "jti"],
    });
    return { claims: payload, header: protectedHeader };
  } catch (error) {
    return { refused: error.code ?? String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await judge(line)));
}
