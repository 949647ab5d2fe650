// Receives webhooks with the official Standard Webhooks library for JavaScript:
//
//     npm ci
//     NOTIFY_SECRET=whsec_... PORT=9000 node receiver.mjs
//
// Prints {"ready":true,"port":...}, then each webhook once, as one line of JSON.

import { createServer } from "node:http";
import { env } from "node:process";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const BODY_BYTES_MAX = 1024 * 1024 + 16 * 1024;
const IDS_MAX = 65_536;

/**
 * The library reads any text as base64. A secret that isn't base64, without
 * whsec_ in front, is handed over as bytes.
 */
function verifier(secret) {
  return secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(Buffer.from(secret), { format: "raw" });
}

/**
 * The work. What must survive a restart belongs in a database, in one
 * transaction with the webhook's id under a unique key.
 */
function handle(webhook) {
  console.log(JSON.stringify(webhook));
}

const handled = new Set(); // in the order they came, so that the oldest can leave

/**
 * After a lost reply, and at a redelivery, the same id comes again: then nothing
 * is done. An id is remembered once its work is done, not before.
 */
function handleOnce(webhook) {
  if (handled.has(webhook.id)) return;
  handle(webhook);
  handled.add(webhook.id);
  if (handled.size > IDS_MAX) {
    handled.delete(handled.values().next().value);
  }
}

/** The status to answer with. */
async function receive(request, verifier) {
  const body = await bytes(request);
  if (body === undefined) return 413;
  try {
    // Checks the signature, in constant time, and the age: five minutes.
    handleOnce(verifier.verify(body, request.headers));
    return 204;
  } catch (error) {
    return error instanceof WebhookVerificationError ? 401 : 500;
  }
}

/** The body as it came, or undefined if there is too much of it. */
async function bytes(request) {
  const chunks = [];
  let length = 0;
  // The connection is kept, so that there is somewhere to answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > BODY_BYTES_MAX) return undefined;
  }
  return Buffer.concat(chunks);
}

if (!env.NOTIFY_SECRET) throw new Error("NOTIFY_SECRET: must be set");
const webhooks = verifier(env.NOTIFY_SECRET);
const server = createServer({ requestTimeout: 10_000 }, async (request, response) => {
  const status = request.method === "POST" ? await receive(request, webhooks).catch(() => 400) : 405;
  // A refused request may not have been read to its end.
  response.writeHead(status, status === 204 ? {} : { connection: "close" }).end();
});
server.listen(Number(env.PORT ?? 9000), "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, port: server.address().port }));
});
