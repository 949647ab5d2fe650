// Receives webhooks with what Node.js brings, and no package:
//
//     NOTIFY_SECRET=whsec_... PORT=9000 node receiver.mjs
//
// Prints {"ready":true,"port":...}, then each webhook once, as one line of JSON.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { argv, env } from "node:process";
import { fileURLToPath } from "node:url";

export const TOLERANCE_SECS = 300;
const BODY_BYTES_MAX = 1024 * 1024 + 16 * 1024;
const IDS_MAX = 65_536;
const FIELDS = { id: "string", type: "string", job_id: "string", sequence: "number", event: "object" };
const STATUSES = ["queued", "processing", "completed", "failed", "cancelled"];

/** Says which check failed; `status` is what to answer. */
export class Refused extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

/**
 * Returns the webhook-id that the signature proves, or throws Refused.
 *
 * `headers` has a list of values for each name, as in `request.headersDistinct`;
 * `body` is the bytes as they came. Every webhook carries these three headers,
 * so no others are looked at.
 */
export function verify(key, headers, body, now, toleranceSecs = TOLERANCE_SECS) {
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (body.length > BODY_BYTES_MAX) {
    throw new Refused(413, `body: larger than ${BODY_BYTES_MAX} bytes`);
  }
  if (!id || !timestamp || !signatures) {
    throw new Refused(401, "a webhook-* header is missing");
  }
  if (!/^[0-9]{1,20}$/.test(timestamp)) {
    throw new Refused(401, "webhook-timestamp: must be Unix time in whole seconds");
  }
  if (Math.abs(now - Number(timestamp)) > toleranceSecs) {
    throw new Refused(401, "webhook-timestamp: too far from now");
  }
  const hmac = createHmac("sha256", key);
  const tag = hmac.update(`${id}.${timestamp}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${tag}`);
  // There is more than one while the sender's secret is being changed.
  const given = signatures.split(" ", 32).map((one) => Buffer.from(one));
  const same = given.filter((one) => one.length === expected.length && timingSafeEqual(one, expected));
  if (same.length === 0) {
    throw new Refused(401, "webhook-signature: no signature matches the secret");
  }
  return id;
}

/** Text that begins with whsec_ is base64; any other text is the key itself. */
export function keyOf(secret) {
  return secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret);
}

function header(headers, name) {
  const values = headers[name] ?? [];
  if (values.length > 1) {
    throw new Refused(400, `${name}: the header is there more than once`);
  }
  if (!values.every((value) => /^[ -~]*$/.test(value))) {
    throw new Refused(400, `${name}: the header's value is not visible ASCII`);
  }
  return values[0];
}

/** Returns what a verified webhook says. */
export function read(body, id) {
  let webhook;
  try {
    webhook = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    webhook = undefined;
  }
  const named = Object.entries(FIELDS).every(([name, kind]) => typeof webhook?.[name] === kind);
  if (!named || !STATUSES.includes(webhook.event?.status)) {
    throw new Refused(400, "body: the signature holds, but this is no notification");
  }
  if (webhook.id !== id) {
    throw new Refused(401, "webhook-id: names another event than the body");
  }
  return webhook;
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

async function receive(request, key) {
  if (request.method !== "POST" || request.url !== "/hook") {
    throw new Refused(404, "there is no such path");
  }
  const body = await bytes(request);
  const id = verify(key, request.headersDistinct, body, Math.floor(Date.now() / 1000));
  handleOnce(read(body, id));
}

async function bytes(request) {
  const chunks = [];
  let length = 0;
  // The connection is kept, so that there is somewhere to answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > BODY_BYTES_MAX) {
      throw new Refused(413, `body: larger than ${BODY_BYTES_MAX} bytes`);
    }
  }
  return Buffer.concat(chunks);
}

function main() {
  if (!env.NOTIFY_SECRET) throw new Error("NOTIFY_SECRET: must be set");
  const key = keyOf(env.NOTIFY_SECRET);
  const server = createServer({ requestTimeout: 10_000 }, async (request, response) => {
    try {
      await receive(request, key);
      response.writeHead(204).end();
    } catch (error) {
      const status = error instanceof Refused ? error.status : 500;
      // A refused request may not have been read to its end.
      response.writeHead(status, { connection: "close" });
      response.end(error instanceof Refused ? error.message : "");
    }
  });
  server.listen(Number(env.PORT ?? 9000), "127.0.0.1", () => {
    console.log(JSON.stringify({ ready: true, port: server.address().port }));
  });
}

if (argv[1] === fileURLToPath(import.meta.url)) main();
