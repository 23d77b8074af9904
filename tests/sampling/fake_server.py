"""An OpenAI-compatible server in a thread, which misbehaves as it is told."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Reply(Exception):
    """What to answer instead: a status with a body and headers, or a way to break the connection."""

    def __init__(self, status=200, body=None, headers=None, how="send"):
        super().__init__(status)
        self.status, self.body, self.headers, self.how = status, body, headers or {}, how


def error(status, message, **headers):
    """An error in OpenAI's form."""
    return Reply(status, {"error": {"message": message}}, {name.replace("_", "-"): v for name, v in headers.items()})


class FakeServer:
    """Counts what it is asked; `trouble(self, path, body, number)` may raise a `Reply`.

    Text i of an answer is `say(prompt, seed, i)`; the prompt of a chat is its messages, joined.
    """

    def __init__(
        self, trouble=lambda *a: None, say=lambda prompt, seed, i: f"{prompt}#{i}", models=("tiny",), most=None
    ):
        self.trouble, self.say, self.models, self.most = trouble, say, list(models), most
        self.requests, self.headers, self.at_once, self.most_at_once = [], [], 0, 0
        self.lock, self.over = threading.Lock(), threading.Event()

    def answer(self, path, body, headers):
        """Status, headers and body for one request."""
        with self.lock:
            number = len(self.requests)
            self.requests.append((path, body))
            self.headers.append(headers)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.trouble(self, path, body, number)
            return Reply(200, self.reply(path, body))
        except Reply as reply:
            return reply
        finally:
            with self.lock:
                self.at_once -= 1

    def reply(self, path, body):
        """What a good server answers."""
        if path == "/v1/models":
            return {"object": "list", "data": [{"id": name} for name in self.models]}
        if path not in ("/v1/completions", "/v1/chat/completions"):
            raise error(404, f"no route {path}")
        if body["model"] not in self.models:
            raise error(404, f"The model `{body['model']}` does not exist.")
        chat = "chat" in path
        prompt = "|".join(f"{m['role']}:{m['content']}" for m in body["messages"]) if chat else body["prompt"]
        choices = []
        for i in range(min(body.get("n", 1), self.most or 10**9)):
            text = self.say(prompt, body.get("seed"), i)
            numbers = [-0.5] * (len(text) + 1)
            listed = {"content": [{"logprob": x} for x in numbers]} if chat else {"token_logprobs": numbers}
            choice = {"index": i, "finish_reason": "stop", "logprobs": listed if body.get("logprobs") else None}
            choices.append(choice | ({"message": {"role": "assistant", "content": text}} if chat else {"text": text}))
        choices.reverse()  # the index counts, not the place
        return {"choices": choices, "usage": {"completion_tokens": 7}}

    @contextlib.contextmanager
    def running(self):
        """Serve on a free port; gives the URL up to `/v1`."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
                self.give(fake.answer(self.path, body, dict(self.headers)))

            do_GET = do_POST

            def give(self, reply):
                text = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                if reply.how == "hang":
                    fake.over.wait(30)
                elif reply.how == "send":
                    self.head(reply, len(text))
                    self.wfile.write(text)
                elif reply.how == "half":
                    self.head(reply, len(text))
                    self.wfile.write(text[: len(text) // 2])
                elif reply.how == "trickle":
                    self.head(reply, len(text))
                    for i in range(len(text)):
                        self.wfile.write(text[i : i + 1])
                        if fake.over.wait(0.1):
                            break
                self.close_connection = True

            def head(self, reply, length):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, *args):
                pass

            def handle(self):
                with contextlib.suppress(OSError):  # the client may have gone
                    super().handle()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            self.over.set()
            server.shutdown()
            server.server_close()
            thread.join()


def slowly(seconds):
    """Trouble that only takes its time."""
    return lambda server, path, body, number: time.sleep(seconds)
