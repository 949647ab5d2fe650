#!/usr/bin/env python3
"""Receives webhooks with Python's standard library alone.

    NOTIFY_SECRET=whsec_... PORT=9000 python3 receiver.py

Prints {"ready": true, "port": ...}, then each webhook once, as one line of JSON.
"""

import base64
import hmac
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_SECS = 300
BODY_BYTES_MAX = 1024 * 1024 + 16 * 1024
IDS_MAX = 65_536
FIELDS = {"id": str, "type": str, "job_id": str, "sequence": int, "event": dict}
STATUSES = ("queued", "processing", "completed", "failed", "cancelled")


class Refused(Exception):
    """Says which check failed; `status` is what to answer."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


def verify(key, headers, body, now, tolerance_secs=TOLERANCE_SECS):
    """Returns the webhook-id that the signature proves, or raises Refused.

    `headers` has `get_all(name)`, as in http.server; `body` is the bytes as they
    came. Every webhook carries these three headers, so no others are looked at.
    """
    id = header(headers, "webhook-id")
    timestamp = header(headers, "webhook-timestamp")
    signatures = header(headers, "webhook-signature")
    if len(body) > BODY_BYTES_MAX:
        raise Refused(413, f"body: larger than {BODY_BYTES_MAX} bytes")
    if not id or not timestamp or not signatures:
        raise Refused(401, "a webhook-* header is missing")
    if not timestamp.isdecimal() or len(timestamp) > 20:
        raise Refused(401, "webhook-timestamp: must be Unix time in whole seconds")
    if abs(now - int(timestamp)) > tolerance_secs:
        raise Refused(401, "webhook-timestamp: too far from now")

    signed = f"{id}.{timestamp}.".encode() + body
    tag = hmac.digest(key, signed, "sha256")
    expected = "v1," + base64.b64encode(tag).decode()
    # There is more than one while the sender's secret is being changed.
    given = signatures.split(" ")[:32]
    if not any([hmac.compare_digest(expected, one) for one in given]):
        raise Refused(401, "webhook-signature: no signature matches the secret")
    return id


def key_of(secret):
    """Text that begins with whsec_ is base64; any other text is the key itself."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret[len("whsec_") :], validate=True)
    return secret.encode()


def header(headers, name):
    values = headers.get_all(name) or []
    if len(values) > 1:
        raise Refused(400, f"{name}: the header is there more than once")
    if not all(value.isascii() and value.isprintable() for value in values):
        raise Refused(400, f"{name}: the header's value is not visible ASCII")
    return values[0] if values else None


def read(body, id):
    """Returns what a verified webhook says."""
    try:
        webhook = json.loads(body)
        well_formed = all(isinstance(webhook[name], kind) for name, kind in FIELDS.items())
        well_formed = well_formed and webhook["event"]["status"] in STATUSES
    except (ValueError, LookupError, TypeError):
        well_formed = False
    if not well_formed:
        raise Refused(400, "body: the signature holds, but this is no notification")
    if webhook["id"] != id:
        raise Refused(401, "webhook-id: names another event than the body")
    return webhook


def handle(webhook):
    """The work. What must survive a restart belongs in a database, in one
    transaction with the webhook's id under a unique key."""
    print(json.dumps(webhook), flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that the sender may be silent
    key = b""
    handled = {}  # ids in the order they came, so that the oldest can leave
    lock = threading.Lock()

    def do_POST(self):
        try:
            if self.path != "/hook":
                raise Refused(404, "there is no such path")
            body = self.body()
            id = verify(self.key, self.headers, body, int(time.time()))
            webhook = read(body, id)
        except Refused as refused:
            return self.answer(refused.status, str(refused))
        # After a lost reply, and at a redelivery, the same id comes again: then
        # nothing is done. An id is remembered once its work is done, not before.
        with self.lock:
            if id not in self.handled:
                handle(webhook)
                self.handled[id] = True
                if len(self.handled) > IDS_MAX:
                    del self.handled[next(iter(self.handled))]
        self.answer(204)

    def body(self):
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            raise Refused(411, "content-length: the header is missing")
        if int(length) > BODY_BYTES_MAX:
            raise Refused(413, f"body: larger than {BODY_BYTES_MAX} bytes")
        return self.rfile.read(int(length))

    def answer(self, status, text=""):
        # A refused request may not have been read to its end.
        self.close_connection = status >= 400
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def main():
    Receiver.key = key_of(os.environ["NOTIFY_SECRET"])
    port = int(os.environ.get("PORT", "9000"))
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(json.dumps({"ready": True, "port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
