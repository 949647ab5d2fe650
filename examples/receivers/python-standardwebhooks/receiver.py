#!/usr/bin/env python3
"""Receives webhooks with the official Standard Webhooks library for Python.

    python3 -m pip install standardwebhooks
    NOTIFY_SECRET=whsec_... PORT=9000 python3 receiver.py

Prints {"ready": true, "port": ...}, then each webhook once, as one line of JSON.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

BODY_BYTES_MAX = 1024 * 1024 + 16 * 1024
IDS_MAX = 65_536


def verifier(secret):
    # The library reads any text as base64. A secret that isn't base64, without
    # whsec_ in front, is handed over as bytes.
    return Webhook(secret if secret.startswith("whsec_") else secret.encode())


def handle(webhook):
    """The work. What must survive a restart belongs in a database, in one
    transaction with the webhook's id under a unique key."""
    print(json.dumps(webhook), flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that the sender may be silent
    verifier = None
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
            # Checks the signature, in constant time, and the age: five minutes.
            webhook = self.verifier.verify(body, dict(self.headers))
        except (WebhookVerificationError, ValueError):
            # ValueError: a header or body that the library can't take apart.
            return self.answer(401)
        # After a lost reply, and at a redelivery, the same id comes again: then
        # nothing is done. An id is remembered once its work is done, not before.
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
    Receiver.verifier = verifier(os.environ["NOTIFY_SECRET"])
    port = int(os.environ.get("PORT", "9000"))
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(json.dumps({"ready": True, "port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
