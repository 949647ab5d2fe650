#!/usr/bin/env python3
"""Writes verify.json: known answers and refusals for verifiers of webhooks.

Signatures are made here with Python's own hmac, from the text of the protocol,
so that the implementation under test is never its own witness. What a vector
expects is written down by hand, never computed.

    python3 generate.py            writes verify.json beside this file
    python3 generate.py --check    exits 1 if verify.json is not what it would write

Nothing here is random and no clock is read: the same file comes out every time.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

NOW = 1712534401
ID = "k3f9a2m7q1xz-12"
PLAIN = "operator-hmac-key"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY_BYTES_MAX = 1024 * 1024 + 16 * 1024

BODY = (
    '{"id":"k3f9a2m7q1xz-12","type":"job.completed","job_id":"job-123","sequence":12,'
    '"event":{"status":"completed","result":{"video_url":"https://cdn.example.com/out.mp4"},'
    '"timestamp":1712534400}}'
)


# The two schemes.


def tag(key, content):
    return hmac.new(key, content, hashlib.sha256).digest()


def standard_key(secret):
    if secret.startswith("whsec_"):
        return base64.b64decode(secret[len("whsec_") :], validate=True)
    return secret.encode()


def standard_tag(secret, body, id=ID, timestamp=NOW, key=None):
    content = f"{id}.{timestamp}.".encode() + as_bytes(body)
    return tag(standard_key(secret) if key is None else key, content)


def standard(secret, body, **how):
    return "v1," + base64.b64encode(standard_tag(secret, body, **how)).decode()


def timestamped(secret, body, timestamp=NOW, key=None):
    content = f"{timestamp}.".encode() + as_bytes(body)
    return "sha256=" + tag(secret.encode() if key is None else key, content).hex()


# Bodies: text, bytes, or a text that is repeated.


def as_bytes(body):
    if isinstance(body, bytes):
        return body
    if isinstance(body, dict):
        return (body["text"] * body["times"]).encode()
    return body.encode()


def body_fields(body):
    if isinstance(body, bytes):
        return {"body_base64": base64.b64encode(body).decode()}
    if isinstance(body, dict):
        return {"body_repeat": body}
    return {"body": body}


# Messages.


def message(body=BODY, secret=PLAIN, id=ID, timestamp=NOW, **changes):
    """The five headers as the sender writes them, some of them changed.

    A change is named as the header with underscores. None leaves the header
    out, a list repeats it.
    """
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard(secret, body, id=id, timestamp=timestamp),
        "x-webhook-signature": timestamped(secret, body, timestamp=timestamp),
        "x-webhook-timestamp": str(timestamp),
    }
    for name, value in changes.items():
        name = name.replace("_", "-")
        assert name in headers, name
        headers[name] = value
    pairs = []
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                pairs.append([name, one])
    return pairs


def hex_only(body=BODY, secret=PLAIN, **changes):
    return message(body, secret, **{"webhook_signature": None, **changes})


vectors = []


def vector(name, expected, headers, body=BODY, secrets=(PLAIN,), now=NOW, reads="bytes", **settings):
    """One vector. `expected` is a code of refusal or `ok:` and the scheme."""
    outcome, _, scheme = expected.partition(":")
    assert name not in {vector["name"] for vector in vectors}, name
    vectors.append(
        {
            "name": name,
            "secrets": list(secrets),
            "now": now,
            **settings,
            "headers": headers,
            **body_fields(body),
            "reads": reads,
            "expected": outcome if outcome == "ok" else expected,
            **({"scheme": scheme} if outcome == "ok" else {}),
        }
    )


def accepted():
    vector("both headers, a secret of plain text", "ok:standard", message())
    vector("both headers, a whsec_ secret", "ok:standard", message(secret=WHSEC), secrets=[WHSEC])
    vector("webhook-signature alone", "ok:standard", message(x_webhook_signature=None, x_webhook_timestamp=None))
    vector("x-webhook-signature alone, plain text", "ok:timestamped", hex_only())
    vector("x-webhook-signature alone, whsec_ used verbatim", "ok:timestamped", hex_only(secret=WHSEC), secrets=[WHSEC])
    vector(
        "x-webhook-signature with nothing of the other scheme",
        "ok:timestamped",
        hex_only(webhook_id=None, webhook_timestamp=None),
    )
    vector("header names in capitals", "ok:standard", [[name.title(), value] for name, value in message()])
    vector(
        "other headers around them, some doubled",
        "ok:standard",
        [["accept", "a"], *message(), ["accept", "b"], ["x-job-id", "job-123"], ["webhook-id-2", "x"]],
    )
    vector("the first of two secrets", "ok:standard", message(), secrets=[PLAIN, OTHER])
    vector("the second of two secrets", "ok:standard", message(), secrets=[OTHER, PLAIN])
    vector("the second of two secrets, x-webhook-signature", "ok:timestamped", hex_only(), secrets=[OTHER, PLAIN])
    two = f"{standard(WHSEC, BODY)} {standard(PLAIN, BODY)}"
    vector("while a secret is changed, held by the new", "ok:standard", message(webhook_signature=two), secrets=[WHSEC])
    vector("while a secret is changed, held by the old", "ok:standard", message(webhook_signature=two))
    wrong = [standard(f"wrong-{n}", BODY) for n in range(40)]
    vector("the right one last of ten", "ok:standard", message(webhook_signature=" ".join([*wrong[:9], standard(PLAIN, BODY)])))
    vector(
        "the right one among unknown versions and junk",
        "ok:standard",
        message(webhook_signature=f"v1a,abc v2,AAAA junk v1,!! , {standard(PLAIN, BODY)} v3,"),
    )
    vector("two spaces between signatures", "ok:standard", message(webhook_signature=f"{wrong[0]}  {standard(PLAIN, BODY)}"))
    vector(
        "the right one thirty-second of many",
        "ok:standard",
        message(webhook_signature=" ".join([*wrong[:31], standard(PLAIN, BODY), *wrong[31:]])),
    )
    vector(
        "only x-webhook-timestamp for webhook-signature",
        "ok:standard",
        message(webhook_timestamp=None),
    )
    vector("webhook-timestamp goes before x-webhook-timestamp", "ok:standard", message(x_webhook_timestamp="1"))
    vector("a bad x-webhook-signature beside a good webhook-signature", "ok:standard", message(x_webhook_signature="sha256="))
    vector("standard only, both headers", "ok:standard", message(), standard_only=True)


def secrets():
    for length in (24, 64):
        secret = "whsec_" + base64.b64encode(bytes(range(length))).decode()
        vector(f"a whsec_ secret of {length} bytes", "ok:standard", message(secret=secret), secrets=[secret])
    for length in (1, 64, 65, 256):
        vector(f"a plain secret of {length} bytes", "ok:standard", message(secret="k" * length), secrets=["k" * length])
    vector("a plain secret beyond ASCII", "ok:standard", message(secret="clé-☂"), secrets=["clé-☂"])
    vector("a plain secret with a space inside it", "ok:standard", message(secret="two words"), secrets=["two words"])
    vector("a wrong secret", "no_match", message(secret=OTHER))
    vector("a wrong secret, x-webhook-signature", "no_match", hex_only(secret=OTHER))
    vector("two wrong secrets", "no_match", message(), secrets=[OTHER, WHSEC])
    vector("a plain secret differs by its case", "no_match", message(secret=PLAIN.upper()))
    vector(
        "webhook-signature keyed with the text of a whsec_ secret",
        "no_match",
        message(webhook_signature=standard(WHSEC, BODY, key=WHSEC.encode())),
        secrets=[WHSEC],
    )
    vector(
        "x-webhook-signature keyed with the bytes of a whsec_ secret",
        "no_match",
        hex_only(x_webhook_signature=timestamped(WHSEC, BODY, key=standard_key(WHSEC))),
        secrets=[WHSEC],
    )


def headers():
    vector("webhook-id missing", "missing_header:webhook-id", message(webhook_id=None))
    vector("webhook-id empty", "missing_header:webhook-id", message(webhook_id=""))
    vector("webhook-id changed", "no_match", message(webhook_id="k3f9a2m7q1xz-13"))
    vector(
        "both timestamps missing",
        "missing_header:webhook-timestamp",
        message(webhook_timestamp=None, x_webhook_timestamp=None),
    )
    vector(
        "both signatures missing",
        "missing_header:webhook-signature",
        message(webhook_signature=None, x_webhook_signature=None),
    )
    vector("no header at all", "missing_header:webhook-timestamp", [])
    good = dict(message())
    for name, value in good.items():
        key = name.replace("-", "_")
        vector(f"{name} doubled", f"header_doubled:{name}", message(**{key: [value, value]}))
        vector(f"{name} doubled in another case", f"header_doubled:{name}", [*message(), [name.title(), "x"]])
        vector(f"{name} beyond ASCII", f"header_not_text:{name}", message(**{key: "é"}))
    vector(
        "x-webhook-signature doubled, the other scheme missing",
        "header_doubled:x-webhook-signature",
        hex_only(x_webhook_signature=[timestamped(PLAIN, BODY), "x"]),
    )
    vector("webhook-id with a line break", "header_not_text:webhook-id", message(webhook_id=ID + "\r\n"))


def clock():
    for make, scheme in ((message, "standard"), (hex_only, "timestamped")):
        vector(f"301 seconds old, {scheme}", "too_old", make(timestamp=NOW - 301))
        vector(f"300 seconds old, {scheme}", f"ok:{scheme}", make(timestamp=NOW - 300))
        vector(f"300 seconds ahead, {scheme}", f"ok:{scheme}", make(timestamp=NOW + 300))
        vector(f"301 seconds ahead, {scheme}", "too_new", make(timestamp=NOW + 301))
    vector("a tolerance of 10 seconds, 11 old", "too_old", message(timestamp=NOW - 11), tolerance_secs=10)
    vector("a tolerance of 10 seconds, 10 ahead", "ok:standard", message(timestamp=NOW + 10), tolerance_secs=10)
    vector("no tolerance, the same second", "ok:standard", message(), tolerance_secs=0)
    vector("signed in 1970", "too_old", message(timestamp=0))
    vector("milliseconds for seconds", "too_new", message(timestamp=NOW * 1000))
    vector("the largest timestamp of 64 bits", "too_new", message(timestamp=2**64 - 1))
    vector("a timestamp beyond 64 bits", "timestamp_malformed", message(timestamp=2**64))
    for name, text in (
        ("empty", ""),
        ("a word", "now"),
        ("negative", f"-{NOW}"),
        ("with a plus", f"+{NOW}"),
        ("with a space before it", f" {NOW}"),
        ("with a fraction", f"{NOW}.0"),
        ("in hexadecimal", hex(NOW)),
        ("an RFC 3339 date", "2024-04-08T00:00:01Z"),
        ("two of them", f"{NOW}, {NOW}"),
    ):
        vector(f"a timestamp {name}", "timestamp_malformed", message(timestamp=text))
    vector("a leading zero is signed as it is written", "ok:standard", message(timestamp=f"0{NOW}"))
    vector("a leading zero that was not signed", "no_match", message(webhook_timestamp=f"0{NOW}"))
    vector("a fresh timestamp over an old signature", "no_match", message(timestamp=NOW - 400, webhook_timestamp=str(NOW)))
    vector(
        "a fresh timestamp over an old x-webhook-signature",
        "no_match",
        hex_only(timestamp=NOW - 400, webhook_timestamp=str(NOW)),
    )
    vector(
        "x-webhook-timestamp does not mend webhook-timestamp",
        "no_match",
        hex_only(webhook_timestamp=str(NOW + 1)),
    )


def signatures():
    good = standard(PLAIN, BODY)
    digits = good.removeprefix("v1,")
    raw = standard_tag(PLAIN, BODY)
    for name, text in (
        ("empty", ""),
        ("v1, alone", "v1,"),
        ("v1 alone", "v1"),
        ("without its version", digits),
        ("of unknown versions only", f"v2,{digits} v1a,{digits} v10,{digits}"),
        ("with a capital V", f"V1,{digits}"),
        ("with = for the comma", f"v1={digits}"),
        ("truncated", good[:20]),
        ("truncated by one byte of tag", "v1," + base64.b64encode(raw[:31]).decode()),
        ("longer by one byte of tag", "v1," + base64.b64encode(raw + b"\0").decode()),
        ("without its padding", good.rstrip("=")),
        ("with its spare bits set", good[:-2] + chr(ord(good[-2]) + 1) + "="),
        ("with URL-safe base64", "v1," + base64.urlsafe_b64encode(b"\xfb" * 32).decode()),
        ("in hexadecimal", "v1," + raw.hex()),
        ("of the other scheme", timestamped(PLAIN, BODY)),
    ):
        vector(f"webhook-signature {name}", "signature_malformed", message(webhook_signature=text))
    vector("webhook-signature of zeros", "no_match", message(webhook_signature="v1," + base64.b64encode(bytes(32)).decode()))
    vector(
        "webhook-signature over another content",
        "no_match",
        message(webhook_signature="v1," + base64.b64encode(tag(PLAIN.encode(), f"{NOW}.{BODY}".encode())).decode()),
    )
    wrong = [standard(f"wrong-{n}", BODY) for n in range(32)]
    vector(
        "the right one thirty-third of many is not looked at",
        "no_match",
        message(webhook_signature=" ".join([*wrong, good])),
    )
    vector("signatures apart by commas", "signature_malformed", message(webhook_signature=f"{good},{good}"))
    good = timestamped(PLAIN, BODY)
    digits = good.removeprefix("sha256=")
    for name, text in (
        ("empty", ""),
        ("sha256= alone", "sha256="),
        ("without its prefix", digits),
        ("in upper case", "sha256=" + digits.upper()),
        ("with an upper-case prefix", "SHA256=" + digits),
        ("of another hash", "sha1=" + digits[:40]),
        ("truncated by one digit", good[:-1]),
        ("truncated by one byte of tag", good[:-2]),
        ("longer by one byte of tag", good + "00"),
        ("with a space behind it", good + " "),
        ("with a digit that is none", good[:-1] + "g"),
        ("in base64", "sha256=" + base64.b64encode(raw).decode()),
        ("of the other scheme", standard(PLAIN, BODY)),
        ("as Stripe writes it", f"t={NOW},v1={digits}"),
    ):
        vector(f"x-webhook-signature {name}", "signature_malformed", hex_only(x_webhook_signature=text))
    vector("x-webhook-signature of zeros", "no_match", hex_only(x_webhook_signature="sha256=" + "0" * 64))
    vector(
        "x-webhook-signature over the body alone",
        "no_match",
        hex_only(x_webhook_signature="sha256=" + tag(PLAIN.encode(), BODY.encode()).hex()),
    )
    vector(
        "a failed webhook-signature is not mended by the other scheme",
        "no_match",
        message(webhook_signature=standard(OTHER, BODY)),
    )
    vector(
        "a malformed webhook-signature is not mended by the other scheme",
        "signature_malformed",
        message(webhook_signature="v1,"),
    )
    vector(
        "standard only, x-webhook-signature alone",
        "missing_header:webhook-signature",
        hex_only(),
        standard_only=True,
    )


def bodies():
    mib = {"text": "x", "times": 1024 * 1024}
    beyond = BODY.replace("out.mp4", "été ☂ 😀")
    crlf = BODY.replace(",", ",\r\n")
    spaced = json.dumps(json.loads(BODY))
    for name, body in (
        ("empty", ""),
        ("of 1 MiB", mib),
        ("beyond ASCII", beyond),
        ("with CRLF line ends", crlf),
        ("with a newline at its end", BODY + "\n"),
        ("with a byte order mark", "\ufeff" + BODY),
        ("of bytes that are no UTF-8", b"\xff\xfe\x00\x80"),
        ("of one zero byte", b"\0"),
        ("with a dot first", ".1712534401.{}"),
    ):
        vector(f"a body {name}", "ok:standard", message(body), body)
        vector(f"a body {name}, x-webhook-signature", "ok:timestamped", hex_only(body), body)
    for name, sent, came in (
        ("emptied", BODY, ""),
        ("that was empty", "", BODY),
        ("of 1 MiB, one byte short", mib, {"text": "x", "times": 1024 * 1024 - 1}),
        ("beyond ASCII, in another normal form", "é", "e\u0301"),
        ("beyond ASCII, escaped", '"é"', '"\\u00e9"'),
        ("with its CRLF made LF", crlf, crlf.replace("\r\n", "\n")),
        ("with a newline added", BODY, BODY + "\n"),
        ("with its newline taken", BODY + "\n", BODY),
        ("with a byte order mark added", BODY, "\ufeff" + BODY),
        ("written again with spaces", BODY, spaced),
        ("written again with its keys sorted", BODY, json.dumps(json.loads(BODY), sort_keys=True, separators=(",", ":"))),
        ("changed by one character", BODY, BODY.replace("out.mp4", "out.mp3")),
    ):
        vector(f"a body {name}", "no_match", message(sent), came)
        vector(f"a body {name}, x-webhook-signature", "no_match", hex_only(sent), came)
    limit = {"text": "x", "times": BODY_BYTES_MAX}
    vector("a body as large as the limit", "ok:standard", message(limit), limit)
    over = {"text": "x", "times": BODY_BYTES_MAX + 1}
    vector("a body one byte over the limit", "body_too_large", message(over), over)


def notifications():
    def read(name, expected, body, headers=None):
        vector(name, expected, message(body) if headers is None else headers, body, reads="notification")

    def changed(**fields):
        return json.dumps({**json.loads(BODY), **fields}, separators=(",", ":"))

    event = {"status": "completed", "timestamp": 1712534400}
    read("a notification", "ok:standard", BODY)
    read("a notification, x-webhook-signature", "ok:timestamped", BODY, hex_only())
    read("a notification, webhook-id neither there nor signed", "ok:timestamped", BODY, hex_only(webhook_id=None))
    read("fields that are not known yet", "ok:standard", changed(extra={"id": "x"}, event={**event, "eta": 5}))
    read("spaces and line ends between the fields", "ok:standard", json.dumps(json.loads(BODY), indent=2))
    for status in ("queued", "processing", "failed", "cancelled"):
        read(f"status {status}", "ok:standard", changed(type=f"job.{status}", event={"status": status, "timestamp": 1}))
    read("progress, result and error", "ok:standard", changed(event={**event, "progress": 100, "result": [1.5, None], "error": "é"}))
    read("an event without a timestamp", "ok:standard", changed(event={"status": "queued"}))
    read("a type that is not known yet", "ok:standard", changed(type="job.paused"))
    read("a result nested 60 deep", "ok:standard", changed(event={**event, "result": json.loads("[" * 60 + "]" * 60)}))
    test = changed(id="k3f9a2m7q1xz-1", sequence=1, type="notify.test", job_id="notify.test", event={"status": "queued", "timestamp": 1})
    read("an operator's test message", "ok:standard", test, message(test, id="k3f9a2m7q1xz-1"))

    other = changed(id="k3f9a2m7q1xz-13")
    read("webhook-id is signed but not the body's id", "id_mismatch", other)
    read("webhook-id is not signed and not the body's id", "id_mismatch", BODY, hex_only(webhook_id="k3f9a2m7q1xz-13"))
    read("webhook-id is not signed and empty", "id_mismatch", BODY, hex_only(webhook_id=""))

    for name, body in (
        ("an empty body", ""),
        ("a word", "completed"),
        ("null", "null"),
        ("an array", f"[{BODY}]"),
        ("a form", "status=completed"),
        ("cut short", BODY[:-1]),
        ("followed by more", BODY + "{}"),
        ("behind a byte order mark", "\ufeff" + BODY),
        ("with bytes that are no UTF-8", BODY.encode().replace(b"out", b"\xff")),
        ("with its id doubled", BODY.replace("{", '{"id":"k3f9a2m7q1xz-12",', 1)),
        ("nested 200 deep", changed(event={**event, "result": json.loads("[" * 200 + "]" * 200)})),
        ("with an id that is a number", changed(id=12)),
        ("with a type that is null", changed(type=None)),
        ("with a job id that is a path", changed(job_id="..")),
        ("with a sequence that is text", changed(sequence="12")),
        ("with a sequence below zero", changed(sequence=-1)),
        ("with a status that there is not", changed(event={"status": "done"})),
        ("with an event that is text", changed(event="completed")),
        ("with progress beyond a byte", changed(event={**event, "progress": 256})),
    ):
        read(f"signed, but {name}", "payload_malformed", body)
    bad_id = changed(id="evt_1")
    read("signed, but with an id of another shape", "payload_malformed", bad_id, message(bad_id, id="evt_1"))
    for field in ("id", "type", "job_id", "sequence", "event"):
        lacking = {name: value for name, value in json.loads(BODY).items() if name != field}
        read(f"signed, but without {field}", "payload_malformed", json.dumps(lacking))
    read("the signature is judged before the body", "no_match", "not JSON", message(BODY))


def main():
    for group in (accepted, secrets, headers, clock, signatures, bodies, notifications):
        group()
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in vectors)
    text = f"[\n{lines}\n]\n"
    path = pathlib.Path(__file__).with_name("verify.json")
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if path.read_text(encoding="utf-8") == text else f"{path.name} is not up to date")
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path.name}: {len(vectors)} vectors")


main()
