#!/usr/bin/env python3
"""Receives webhooks with the verifier of Stripe's library for Python.

For code that has it already: x-webhook-signature signs what Stripe signs. New
code does better with webhook-signature; see python-standardwebhooks.

    python3 -m pip install stripe
    NOTIFY_SECRET=whsec_... PORT=9000 python3 receiver.py

Prints {"ready": true, "port": ...}, then each webhook once, as one line of JSON.
"""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stripe import SignatureVerificationError, WebhookSignature

TOLERANCE_SECS = 300
BODY_BYTES_MAX = 1024 * 1024 + 16 * 1024
IDS_MAX = 65_536


def verify(secret, headers, body):
    """Returns what the webhook says, or raises an error.

    The secret is used as it is written, whsec_ included.
    """
    timestamp = headers.get("x-webhook-timestamp", "")
    signature = headers.get("x-webhook-signature", "").removeprefix("sha256=")
    written_as_stripe_does = f"t={timestamp},v1={signature}"
    # Compares in constant time.
    WebhookSignature.verify_header(body, written_as_stripe_does, secret, TOLERANCE_SECS)
    # The library looks at the past only.
    if int(timestamp) > time.time() + TOLERANCE_SECS:
        raise ValueError("x-webhook-timestamp: too far in the future")
    return json.loads(body)


def handle(webhook):
    """The work. What must survive a restart belongs in a database, in one
    transaction with the webhook's id under a unique key."""
    print(json.dumps(webhook), flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that the sender may be silent
    secret = ""
    handled = {}  # ids in the order they came, so that the oldest can leave
    lock = threading.Lock()

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            return self.answer(411)
        if int(length) > BODY_BYTES_MAX:
            return self.answer(413)
        body = self.rfile.read(int(length))
        try:
            webhook = verify(self.secret, self.headers, body)
        except (SignatureVerificationError, ValueError):
            return self.answer(401)
        # After a lost reply, and at a redelivery, the same id comes again: then
        # nothing is done. An id is remembered once its work is done, not before.
        # It is the body's: this signature does not cover the header webhook-id.
        with self.lock:
            id = webhook["id"]
            if id not in self.handled:
                handle(webhook)
                self.handled[id] = True
                if len(self.handled) > IDS_MAX:
                    del self.handled[next(iter(self.handled))]
        self.answer(204)

    def answer(self, status):
        # A refused request may not have been read to its end.
        self.close_connection = status >= 400
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    Receiver.secret = os.environ["NOTIFY_SECRET"]
    port = int(os.environ.get("PORT", "9000"))
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(json.dumps({"ready": True, "port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
