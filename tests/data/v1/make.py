#!/usr/bin/env python3
"""Makes the data directory of version 1, and says what must be readable in it.

    make.py NOTIFY STORE_CALLS

NOTIFY is the program of version 1; STORE_CALLS is store_calls.rs beside this
file, built with the library of the same version, for what the program does not
offer. Writes notify.db, notify.db-wal, api-key.sha256 and expected.json beside
this file. Needs nothing but Python, and a minute.

What is expected comes from witnesses that are not the store's own code: what was
sent to the program and what it answered (events, ids, tokens), what the receiver
got, and the tables as Python's sqlite3 reads them.
"""

import atexit
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
RECEIVER_PORT = 28765
HOOKS = f"http://127.0.0.1:{RECEIVER_PORT}"
GLOBAL_SECRET = "operator-hmac-key"
OWN_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDCg=="
STATUSES = ["queued", "processing", "completed", "failed", "cancelled"]
KINDS = ["progress", "lifecycle", "terminal"]
STATES = ["pending", "delivered", "dead", "superseded"]
REASONS = ["exhausted", "gone", "address_refused", "expired", "overtaken", "secret_missing"]


class Receiver:
    """Answers by the path: /ok 204, /<status> that status, /flip what it is told."""

    def __init__(self):
        self.requests = []
        self.flip = 500
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                name = self.path.split("?")[0].strip("/").split("/")[-1]
                status = 204 if name == "ok" else receiver.flip if name == "flip" else int(name)
                answer = b"" if status == 204 else b"not\x1b today\n"
                self.send_response(status)
                if status == 503:
                    self.send_header("retry-after", "3600")
                if status != 204:
                    self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                receiver.requests.append((self.path, self.headers["webhook-id"], body))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", RECEIVER_PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, path, event_id, times=1):
        came = lambda: sum(1 for p, i, _ in self.requests if p == path and i == event_id) >= times
        wait_until(came, f"{times} of {event_id} at {path}")


class Server:
    """One run of the program on the data directory."""

    key = None

    def __init__(self, program, data, schedule, secret=GLOBAL_SECRET, **settings):
        env = {
            "PATH": os.environ["PATH"],
            "NOTIFY_RETRY_SCHEDULE": json.dumps(schedule),
            **({"NOTIFY_SIGNING_SECRET": secret} if secret else {}),
            **settings,
        }
        args = ["serve", "--listen", "127.0.0.1:0", "--allow-loopback", "--data-dir", data]
        self.data = data
        self.child = subprocess.Popen(
            [program, *args], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=data
        )
        atexit.register(self.child.kill)
        self.port = None
        for line in self.child.stderr:
            if made := re.search(r"made for this data directory: (\S+)", line):
                Server.key = made.group(1)
            if listening := re.search(r"listening on http://127.0.0.1:(\d+)", line):
                self.port = int(listening.group(1))
                break
        threading.Thread(target=self.child.stderr.read, daemon=True).start()

    def call(self, method, path, body=None, headers=None, expect=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"authorization": f"Bearer {Server.key}", **(headers or {})}
        if body is not None:
            headers["content-type"] = "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if expect:
            assert answer.status == expect, (method, path, answer.status, text)
        return json.loads(text)

    def register(self, story, job, webhook=None):
        spec = {"job_id": job, **({"webhook": webhook} if webhook else {})}
        answer = self.call("POST", "/v1/jobs", json.dumps(spec), expect=201)
        story.setdefault(job, {})["token"] = answer["token"]
        return answer

    def emit(self, story, job, event, webhook_url=None, key=None):
        """`event` is JSON as text, so that its bytes are what is sent."""
        query = "?" + urllib.parse.urlencode({"webhook_url": webhook_url}) if webhook_url else ""
        headers = {"idempotency-key": key} if key else {}
        path = f"/v1/jobs/{job}/events{query}"
        event_id = self.call("POST", path, event, headers, expect=202)["id"]
        known = story.setdefault(job, {})
        known.setdefault("sent", {})[event_id] = event
        if key:
            known.setdefault("keys", []).append(
                {"key": key, "id": event_id, "event": json.loads(event), "webhook_url": webhook_url}
            )
        return event_id

    def until(self, sql, count):
        """Waits until a query of the tables, read beside the server, says so."""

        def there():
            with reading(self.data) as db:
                return db.execute(sql).fetchone()[0] == count

        wait_until(there, f"{sql} = {count}")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(30) == 0

    def kill(self):
        self.child.kill()
        self.child.wait(30)


def wait_until(there, what):
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class reading:
    def __init__(self, data):
        self.data = data

    def __enter__(self):
        self.db = sqlite3.connect(f"file:{self.data}/notify.db?mode=ro", uri=True)
        self.db.row_factory = sqlite3.Row
        return self.db

    def __exit__(self, *_):
        self.db.close()


def first_acts(program, data, receiver, story):
    """Jobs that are forgotten while their dead letters stay; an endpoint with a
    secret that was made for it."""
    server = Server(program, data, ["50ms"], secret=None, NOTIFY_STORE__RETENTION="1s")
    made = server.register(story, "forgotten", {"url": f"{HOOKS}/made/500"})["webhook_secret"]
    server.emit(story, "forgotten", '{"status":"completed","result":{"n":1}}')
    server.register(story, "forgotten-too", {"url": f"{HOOKS}/made/500"})
    server.emit(story, "forgotten-too", '{"status":"failed","error":"no luck"}')
    server.until("SELECT count(*) FROM dead_letters", 2)
    server.until("SELECT count(*) FROM jobs", 0)
    server.stop()
    return made


def short_schedule(program, data, receiver, story):
    """What fails for good: dead letters, and an endpoint that said 410."""
    server = Server(program, data, ["50ms"])
    server.emit(story, "exhausted", '{"status":"completed","result":"x"}', f"{HOOKS}/a/500")
    server.emit(story, "flips", '{"status":"failed","error":"first"}', f"{HOOKS}/flip")
    server.emit(story, "again", '{"status":"cancelled"}', f"{HOOKS}/b/500")
    server.emit(story, "no-address", '{"status":"completed"}', "http://0x100000000/")
    gone = {"url": f"{HOOKS}/410", "secret": "a secret of its own"}
    server.register(story, "gone", gone)
    server.emit(story, "gone", '{"status":"queued"}')
    server.until("SELECT count(*) FROM endpoints WHERE enabled = 0", 1)
    # Parked behind the disabled endpoint; the first progress is superseded.
    server.emit(story, "gone", '{"status":"processing","progress":1}')
    server.emit(story, "gone", '{"status":"processing","progress":2}')
    server.emit(story, "gone", '{"status":"processing","progress":3}')
    server.until("SELECT count(*) FROM dead_letters", 7)
    server.stop()
    # A secret that is taken away while a retry waits.
    server = Server(program, data, ["2s"])
    event = server.emit(story, "unsigned", '{"status":"completed"}', f"{HOOKS}/c/500")
    receiver.wait("/c/500", event)
    server.stop()
    server = Server(program, data, ["2s"], secret=None)
    server.until("SELECT count(*) FROM dead_letters WHERE reason = 5", 1)
    server.stop()


def long_schedule(program, data, receiver, story):
    """Jobs in every state, and retries that wait."""
    server = Server(program, data, ["30m", "2h"])
    emit = lambda *args, **kwargs: server.emit(story, *args, **kwargs)

    server.register(story, "registered")
    server.register(story, "queued")
    emit("queued", '{"status":"queued","timestamp":1712534400}')
    server.register(story, "running")
    emit("running", '{"status":"queued"}')
    for progress in range(20):
        emit("running", json.dumps({"status": "processing", "progress": progress}))
    own = {"url": f"{HOOKS}/ok", "secret": OWN_SECRET}
    server.register(story, "completed", own)
    emit("completed", '{"status":"queued"}')
    last = emit("completed", '{"status":"completed","result":{"z":1,"a":[1.5,-0.0,"\\u00e9","\\n"]}}')
    receiver.wait("/ok", last)
    emit("failed", '{"status":"queued"}')
    emit("failed", '{"status":"failed","error":"Speicher voll \\u2014 \\ud83d\\udca5"}')
    emit("cancelled", '{"status":"cancelled"}')
    server.register(story, "filtered", {"url": f"{HOOKS}/ok", "secret": OWN_SECRET, "events": ["processing"]})
    emit("filtered", '{"status":"queued"}')
    last = emit("filtered", '{"status":"processing","progress":50}')
    receiver.wait("/ok", last)

    old = server.register(story, "renewed")["token"]
    renewed = server.call("POST", "/v1/jobs/renewed/token", expect=201)["token"]
    story["renewed"] |= {"token": renewed, "old_token": old}

    key = {"key": "order-1/queued"}
    first = emit("keyed", '{"status":"queued"}', **key)
    assert emit("keyed", '{"status":"queued"}', **key) == first
    story["keyed"]["keys"].pop()
    emit("keyed", '{"status":"completed","result":[1]}', f"{HOOKS}/d/ok", key="order-1/done")
    receiver.wait("/d/ok", story["keyed"]["keys"][1]["id"])

    # A lane whose head waits for its retry.
    server.register(story, "retrying", {"url": f"{HOOKS}/e/500?token=hidden"})
    head = emit("retrying", '{"status":"queued"}')
    receiver.wait("/e/500?token=hidden", head)
    for progress in (1, 2, 3):
        emit("retrying", json.dumps({"status": "processing", "progress": progress}))
    # One whose head the terminal event overtakes, and then waits itself.
    head = emit("overtaken", '{"status":"queued"}', f"{HOOKS}/f/500")
    receiver.wait("/f/500", head)
    server.until("SELECT count(*) FROM deliveries WHERE attempts_made > 0", 2)
    last = emit("overtaken", '{"status":"completed"}', f"{HOOKS}/f/500")
    receiver.wait("/f/500", last)
    # One job, two endpoints: one has it, one asked to be left alone for an hour.
    server.register(story, "both", {"url": f"{HOOKS}/ok", "secret": OWN_SECRET})
    last = emit("both", '{"status":"completed","result":null}', f"{HOOKS}/503")
    receiver.wait("/ok", last)
    receiver.wait("/503", last)
    server.until("SELECT count(*) FROM deliveries WHERE attempts_made > 0", 3)
    server.stop()


def second_lives(program, calls, data, receiver, story):
    """Redeliveries: one delivered, one that failed again, one not yet tried; the
    first two of which belong to a job that is known and one that is not."""
    assert subprocess.check_output([calls, data, "redeliver", "flips"]) == b"1\n"
    assert subprocess.check_output([calls, data, "redeliver", "forgotten"]) == b"1\n"
    subprocess.check_call([calls, data, "rotate", f"{HOOKS}/ok", NEW_SECRET])
    receiver.flip = 204
    server = Server(program, data, ["30m"])
    server.until("SELECT count(*) FROM attempts WHERE generation = 1", 2)
    server.stop()
    assert subprocess.check_output([calls, data, "redeliver", "again"]) == b"1\n"


def a_crash(program, data, receiver, story):
    """What is only in the log: the program is killed."""
    server = Server(program, data, ["30m"])
    server.until("SELECT count(*) FROM attempts WHERE generation = 1", 3)
    server.emit(story, "running", '{"status":"completed","result":"after all"}')
    server.register(story, "late", {"url": f"{HOOKS}/g/500"})
    late = server.emit(story, "late", '{"status":"queued"}', key="late")
    receiver.wait("/g/500", late)
    server.until("SELECT count(*) FROM deliveries d JOIN jobs j ON j.id = d.job "
                 "WHERE j.job_id = 'late' AND attempts_made = 1", 1)
    server.kill()


def tables(data, story):
    """What is kept, from the tables, with what the story knows of it."""
    with reading(data) as db:
        rows = lambda sql, *values: [dict(row) for row in db.execute(sql, values)]
        endpoints = {row["id"]: row for row in rows("SELECT * FROM endpoints")}

        def attempts(of):
            found = rows("SELECT * FROM attempts WHERE job = ? AND number = ? ORDER BY entry",
                         of["job"], of["number"])
            names = ["at", "duration_ns", "status", "error", "snippet", "next_attempt_at"]
            made = [row for row in found if row["attempt"] is not None]
            return [{"number": row["attempt"], **{name: row[name] for name in names}} for row in made]

        def delivery(row, epoch, state):
            endpoint = endpoints[row["endpoint"]]
            return {
                "id": row["delivery"],
                "event_id": f"{epoch}-{row['sequence']}",
                "endpoint_id": endpoint["endpoint"],
                "url": endpoint["url"],
                "generation": row["generation"],
                "state": state,
                "attempts": attempts(row),
            }

        jobs, pending = {}, []
        for job in rows("SELECT * FROM jobs ORDER BY id"):
            known = story.get(job["job_id"], {})
            events = [
                {"id": f"{job['epoch']}-{row['sequence']}", "kind": KINDS[row["kind"]],
                 "status": STATUSES[row["status"]], "json": bytes(row["json"]).decode()}
                for row in rows("SELECT * FROM events WHERE job = ? ORDER BY sequence", job["id"])
            ]
            for event in events:
                sent, kept = json.loads(known["sent"][event["id"]]), json.loads(event["json"])
                sent = {"timestamp": kept["timestamp"], **sent}
                assert {name: value for name, value in sent.items() if value is not None} == kept
            waiting = rows("SELECT * FROM deliveries WHERE job = ?", job["id"])
            settled = rows("SELECT * FROM attempts a WHERE job = ? AND state <> 0 "
                           "AND entry = (SELECT max(entry) FROM attempts "
                           "  WHERE job = a.job AND number = a.number)", job["id"])
            both = [(row, "pending") for row in waiting]
            both += [(row, STATES[row["state"]]) for row in settled]
            both.sort(key=lambda one: -one[0]["number"])
            endpoint = endpoints.get(job["endpoint"])
            names = [name for bit, name in [(1, "queued"), (2, "processing")]
                     if job["filter"] is not None and job["filter"] & bit]
            jobs[job["job_id"]] = {
                "epoch": job["epoch"],
                "sequence": job["sequence"],
                "status": None if job["status"] is None else STATUSES[job["status"]],
                "created_at": job["created_at"],
                "updated_at": job["updated_at"],
                "token": known.get("token"),
                **({"old_token": known["old_token"]} if "old_token" in known else {}),
                "webhook": endpoint and {"url": endpoint["url"], "events": names},
                "events": events,
                "keys": known.get("keys", []),
                "deliveries": [delivery(row, job["epoch"], state) for row, state in both],
            }
        names = {job["id"]: job for job in rows("SELECT id, job_id, epoch FROM jobs")}
        for row in rows("SELECT * FROM deliveries ORDER BY number"):
            job = names.get(row["job"], row)
            own = bytes(row["json"]) if row["json"] else db.execute(
                "SELECT json FROM events WHERE job = ? AND sequence = ?",
                (row["job"], row["sequence"])).fetchone()[0]
            pending.append({
                "job_id": job["job_id"],
                **delivery(row, job["epoch"], "pending"),
                "accepted_at": row["accepted_at"],
                "due_at": row["due_at"],
                "attempts_made": row["attempts_made"],
                "body": body(job["job_id"], f"{job['epoch']}-{row['sequence']}",
                             STATUSES[row["status"]], bytes(own).decode()),
            })
        dead = [
            {
                "id": row["delivery"],
                "job_id": row["job_id"],
                "event_id": f"{row['epoch']}-{row['sequence']}",
                "endpoint_id": row["endpoint"],
                "url": row["url"],
                "reason": REASONS[row["reason"]],
                "died_at": row["died_at"],
                "attempts": json.loads(row["attempts"]),
                "body": body(row["job_id"], f"{row['epoch']}-{row['sequence']}",
                             STATUSES[row["status"]], bytes(row["json"]).decode()),
            }
            for row in rows("SELECT * FROM dead_letters ORDER BY id")
        ]
        kept = [
            {"id": row["endpoint"], "url": row["url"], "enabled": bool(row["enabled"]),
             "secrets": [one for one in (row["secret"], row["previous_secret"]) if one]}
            for row in endpoints.values()
        ]
    return {"jobs": jobs, "pending": pending, "dead_letters": dead, "endpoints": kept}


def body(job, event_id, status, event):
    """The webhook's body, as the protocol says."""
    sequence = event_id.split("-")[1]
    head = {"id": event_id, "type": f"job.{status}", "job_id": job, "sequence": int(sequence)}
    return json.dumps(head, separators=(",", ":"))[:-1] + f',"event":{event}}}'


def main():
    program, calls = sys.argv[1:]
    receiver, story = Receiver(), {}
    with tempfile.TemporaryDirectory() as scratch:
        data = os.path.join(scratch, "data")
        os.mkdir(data, 0o700)
        made_secret = first_acts(program, data, receiver, story)
        short_schedule(program, data, receiver, story)
        long_schedule(program, data, receiver, story)
        second_lives(program, calls, data, receiver, story)
        assert os.path.getsize(f"{data}/notify.db-wal") == 0
        closed = tables(data, story)
        shutil.copy(f"{data}/notify.db", f"{scratch}/notify.db")

        a_crash(program, data, receiver, story)
        # The log is all that differs, so one database serves both.
        with open(f"{data}/notify.db", "rb") as one, open(f"{scratch}/notify.db", "rb") as other:
            assert one.read() == other.read()
        for name in ("notify.db", "notify.db-wal", "api-key.sha256"):
            shutil.copy(f"{data}/{name}", HERE)
        killed = tables(data, story)
        assert [made_secret] in [one["secrets"] for one in killed["endpoints"]]
    got = {event_id for _, event_id, _ in receiver.requests}
    for job in killed["jobs"].values():
        for one in job["deliveries"]:
            assert one["state"] != "delivered" or one["event_id"] in got
    expected = {
        "made_at": int(time.time() * 1000),
        "api_key": Server.key,
        "signing_secret": GLOBAL_SECRET,
        "forgotten_jobs": ["forgotten", "forgotten-too"],
        "closed": closed,
        "killed": killed,
    }
    with open(f"{HERE}/expected.json", "w") as file:
        json.dump(expected, file, indent=1, ensure_ascii=False)
        file.write("\n")


main()
