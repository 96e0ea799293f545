// The route of bench/server.py in fastify: bare, or behind @fastify/jwt with its cache.
// `CACHE` is "" for the bare route, "hash" for a cache whose keys are hashes of the tokens,
// as it is by default, and "token" for one whose keys are the tokens themselves, which is faster.

import fastify from "fastify";
import jwt from "@fastify/jwt";

const { CACHE, ALGORITHM, ISSUER, AUDIENCE, KEY } = process.env;

const app = fastify();
const options = {};
if (CACHE) {
  await app.register(jwt, {
    secret: ALGORITHM === "HS256" ? Buffer.from(KEY, "hex") : { public: KEY },
    verify: {
      algorithms: [ALGORITHM],
      allowedIss: ISSUER,
      allowedAud: AUDIENCE,
      cache: true,
      ...(CACHE === "token" && { cacheKeyBuilder: (token) => token }),
    },
  });
  options.onRequest = (request) => request.jwtVerify();
}
app.get("/notes", options, async () => "ok");
await app.listen({ host: "127.0.0.1", port: 0 });
console.log(app.server.address().port);
