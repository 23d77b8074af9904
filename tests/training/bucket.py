"""A stand-in for Google Cloud Storage: its JSON API over objects in memory, as `gcsfs` and tensorstore use it."""

import base64
import contextlib
import email
import email.policy
import hashlib
import http.server
import json
import re
import threading
import urllib.parse


class Bucket:
    """Objects by name, each with a generation; `asked` lists what was requested, `forbidden` what may not be read."""

    def __init__(self):
        self.objects, self.uploads, self.generation, self.lock = {}, {}, 0, threading.RLock()
        self.asked, self.forbidden = [], set()

    def put(self, name, data):
        """Store an object; returns its resource."""
        self.generation += 1
        self.objects[name] = (self.generation, data)
        return self.resource(name)

    def resource(self, name):
        """What the API says of an object."""
        generation, data = self.objects[name]
        return {
            "kind": "storage#object", "name": name, "bucket": "bucket", "id": f"bucket/{name}/{generation}",
            "generation": str(generation), "metageneration": "1", "size": str(len(data)), "storageClass": "STANDARD",
            "contentType": "application/octet-stream", "etag": str(generation),
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "timeCreated": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:00.000Z",
        }  # fmt: skip

    def listing(self, query):
        """Objects and common prefixes, all on one page."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        names = [name for name in sorted(self.objects) if name.startswith(prefix)]
        names = [name for name in names if name >= query.get("startOffset", "")]
        names = [name for name in names if not query.get("endOffset") or name < query["endOffset"]]
        items, prefixes = [], set()
        for name in names:
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.resource(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


def handler_of(bucket):
    """The request handler of one bucket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def say(self, code, body=b"", **headers):
            body = json.dumps(body).encode() if isinstance(body, dict) else body
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client that has gone
                if self.command != "HEAD":
                    self.wfile.write(body)

        def read(self):
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def refused(self, name, query):
            """Whether the generation is another than the request expects."""
            have = bucket.objects.get(name, (0, b""))[0]
            wanted = query.get("ifGenerationMatch")
            return wanted is not None and int(wanted) != have

        def answer(self):
            body = self.read()
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query, keep_blank_values=True))
            path = re.sub(r"^/(download/)?", "/", address.path)
            with bucket.lock:
                bucket.asked.append((self.command, urllib.parse.unquote(path)))
                if path.startswith("/upload/"):
                    return self.upload(query, body)
                found = re.fullmatch(r"(?:/storage/v1)?/b/([^/]+)(?:/(o)(?:/(.*))?)?", path)
                if found is None:
                    return self.say(404, {"error": {"code": 404, "message": path}})
                if not found[2]:
                    return self.say(200, {"kind": "storage#bucket", "name": found[1], "location": "US"})
                if not found[3]:
                    return self.say(200, bucket.listing(query))
                return self.one(found[3], query)

        def missing(self, name):
            return self.say(404, {"error": {"code": 404, "message": f"No such object: {name}"}})

        def one(self, quoted, query):
            moved = re.fullmatch(r"(.+)/moveTo/o/(.+)", quoted)
            if moved:
                source, target = map(urllib.parse.unquote, moved.groups())
                if source not in bucket.objects:
                    return self.missing(source)
                return self.say(200, bucket.put(target, bucket.objects.pop(source)[1]))
            copied = re.fullmatch(r"(.+)/(?:copyTo|rewriteTo)/b/[^/]+/o/(.+)", quoted)
            if copied:
                source, target = map(urllib.parse.unquote, copied.groups())
                if source not in bucket.objects:
                    return self.missing(source)
                made = bucket.put(target, bucket.objects[source][1])
                return self.say(200, {"kind": "storage#rewriteResponse", "done": True, "resource": made})
            name = urllib.parse.unquote(quoted)
            if name in bucket.forbidden:
                message = f"the account does not have storage.objects.get access to {name}"
                return self.say(403, {"error": {"code": 403, "message": message}})
            if name not in bucket.objects:
                return self.missing(name)
            if self.refused(name, query):
                return self.say(412, {"error": {"code": 412, "message": "conditionNotMet"}})
            generation, data = bucket.objects[name]
            if self.command == "DELETE":
                del bucket.objects[name]
                return self.say(204)
            if query.get("alt") != "media":
                return self.say(200, bucket.resource(name))
            if query.get("ifGenerationNotMatch") == str(generation):
                return self.say(304)
            headers = {"x_goog_generation": str(generation), "x_goog_stored_content_encoding": "identity"}
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if wanted is None:
                return self.say(200, data, **headers)
            first = int(wanted[1]) if wanted[1] else max(len(data) - int(wanted[2]), 0)
            last = min(int(wanted[2]), len(data) - 1) if wanted[1] and wanted[2] else len(data) - 1
            if first >= len(data):
                return self.say(416, b"", Content_Range=f"bytes */{len(data)}")
            return self.say(206, data[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}", **headers)

        def upload(self, query, body):
            if "upload_id" in query:
                return self.resume(query["upload_id"], body)
            kind, name = query.get("uploadType"), query.get("name")
            if kind == "multipart":
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = email.message_from_bytes(head + body, policy=email.policy.HTTP).get_payload()
                name = name or json.loads(parts[0].get_payload(decode=True))["name"]
                body = _second(self.headers, body)
            elif kind == "resumable":
                name = name or json.loads(body)["name"]
                number = str(len(bucket.uploads))
                bucket.uploads[number] = (name, bytearray(), query)
                where = f"http://{self.headers['Host']}/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id={number}"
                return self.say(200, b"", Location=where)
            if self.refused(name, query):
                return self.say(412, {"error": {"code": 412, "message": "conditionNotMet"}})
            return self.say(200, bucket.put(name, body))

        def resume(self, number, body):
            name, so_far, query = bucket.uploads[number]
            so_far += body
            total = self.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdigit() and len(so_far) >= int(total):
                if self.refused(name, query):
                    return self.say(412, {"error": {"code": 412, "message": "conditionNotMet"}})
                return self.say(200, bucket.put(name, bytes(so_far)))
            return self.say(308, b"", Range=f"bytes=0-{max(len(so_far) - 1, 0)}")

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer

    return Handler


def _second(headers, body):
    """The second part of a multipart body, byte for byte."""
    boundary = re.search(r'boundary="?([^";]+)', headers["Content-Type"])[1].encode()
    part = body.split(b"--" + boundary)[2]
    head, _, data = part.lstrip(b"\r\n").partition(b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n")
    return data.removesuffix(b"\r\n").removesuffix(b"\n") if data.endswith(b"\n") else data


@contextlib.contextmanager
def serve():
    """A bucket and the address of its server."""
    bucket = Bucket()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(bucket))
    server.handle_error = lambda *_: None  # a client that closes its connection in the middle of a request
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield bucket, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
