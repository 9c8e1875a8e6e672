"""Somebody else's model server, on the standard library alone: it answers as the OpenAI and KServe APIs say.

Or as badly as the last message tells it to. It is started inside the sandbox, so it knows nothing of Cloister.
"""

import json
import os
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SEEN: list[object] = []  # the bodies that it got, newest last
CACHED: set[str] = set()  # prompts, each with its salt
STARTED = os.urandom(8).hex()
WEIGHTS = bytearray(b"w") * (int(os.environ.get("WEIGHTS_MIB", "0")) << 20)  # as any server holds them


class Served(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "a peer"

    def log_message(self, *_args):
        """Print what it was asked, as servers do that were written for one user."""

    def do_GET(self):
        if self.path.startswith("/v2/"):
            self.whole({"name": "m", "platform": "double", "inputs": [], "outputs": []})
        else:
            self.whole({"status": "ok"})

    def do_POST(self):
        length = int(self.headers["content-length"])
        data = self.rfile.read(length)
        if self.path.startswith("/v1/audio/"):
            self.heard(data)
            return
        body = json.loads(data)
        SEEN.append(body)
        if self.path.startswith("/v2/"):
            self.whole({"model_name": "m", "outputs": [body["inputs"][0]]})
            return
        asked = body["messages"][-1]["content"] if "messages" in body else body.get("input", body.get("prompt"))
        for output in (sys.stdout, sys.stderr):
            output.write(f"{asked}\n")
            output.flush()
        fault = getattr(self, f"fault_{asked}", None) if isinstance(asked, str) and asked.isidentifier() else None
        if fault is not None:
            fault(body)
        elif body.get("stream"):
            self.streamed(["one ", "two ", "three"])
        elif self.path == "/v1/messages":
            known = self.knows(body | {"cache_prompt": True})  # as llama.cpp, which does not heed it here
            usage = {"input_tokens": 3 - known, "cache_read_input_tokens": known, "output_tokens": 4}
            self.whole({"type": "message", "content": [{"type": "text", "text": "one two three"}], "usage": usage})
        else:
            said = json.dumps(body) if asked == "say what you got" else "one two three"
            said = STARTED if asked == "when were you started" else said
            known = self.knows(body)
            timings = {"cache_n": known, "prompt_n": 3 - known, "predicted_n": 4}
            self.whole(completion(said) | {"usage": None, "timings": timings})

    def knows(self, body):
        """How many tokens of a prompt its cache has, from now on all: of prompts with the same salt, if any."""
        prompt = json.dumps([body.get(name) for name in ("cache_salt", "messages", "prompt", "input")])
        if body.get("cache_prompt") is False:
            return 0
        known = 2 if prompt in CACHED else 0
        CACHED.add(prompt)
        return known

    def heard(self, data):
        found = {"text": " good morning", "language": "", "duration": 1.2}
        if b"verbose_json" in data:
            found["segments"] = [{"id": 0, "start": 0.0, "end": 1.25, "text": " good morning"}]
        self.whole(found | ({"text": data.decode("latin-1")} if b"tell" in data[:4096] else {}))

    # --- faults ---

    def fault_hang(self, _body):
        time.sleep(600)

    def fault_error(self, body):
        self.whole({"error": {"message": f"cannot: {json.dumps(SEEN)}", "code": "context_length_exceeded"}}, 400)

    def fault_long(self, _body):
        self.streamed([f"{number} " for number in range(16)])

    def fault_crash(self, _body):
        os._exit(3)

    def fault_malformed(self, _body):
        self.wfile.write(b"HTTP/1.1 200 maybe\r\ncontent-length: -4\r\n\r\nxx")
        self.close_connection = True

    def fault_noise(self, _body):
        self.raw(200, "application/json", b"<html>not JSON</html>")

    def fault_endless(self, _body):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while True:
            self.chunk(b"x" * 65536)

    def fault_cut(self, _body):
        self.streamed(["one "], end=False)

    def fault_cut_whole(self, _body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
        self.close_connection = True

    def fault_disorder(self, _body):
        self.streamed(["[DONE]", "after the end"])

    def fault_stream_error(self, body):
        self.begin()
        self.event({"error": {"message": json.dumps(SEEN)}})
        self.chunk(b"")

    def fault_lists(self, _body):
        self.raw(200, "application/json", b'{"choices":[' + b"[]," * 10_000_000 + b"[]]}")

    def fault_hungry(self, _body):
        hoard = [bytearray(b"x") * 2**20 for _ in range(4096)]
        self.whole(completion(str(len(hoard))))

    def fault_forks(self, _body):
        try:
            for _ in range(10_000):
                if os.fork() == 0:
                    time.sleep(600)
                    os._exit(0)
        except OSError as error:
            self.whole(completion(type(error).__name__))

    def fault_files(self, _body):
        tried = []
        for place in ("/app/upstream/kept", "/usr/kept", "/etc/kept", "/model/kept", "/kept", "/proc/self/kept"):
            try:
                Path(place).write_text("a prompt")
                tried.append(place)
            except OSError:
                pass
        self.whole(completion(f"written: {tried}"))

    def fault_sockets(self, _body):
        opened = []
        for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM), (40, 1)):
            try:
                with socket.socket(family, kind) as one:
                    one.settimeout(1)
                    one.connect((2, 1) if family == 40 else ("192.0.2.1", 80))
                opened.append(int(family))
            except OSError:
                pass
        self.whole(completion(f"opened: {opened}"))

    # --- how it answers ---

    def whole(self, value, status=200):
        self.raw(status, "application/json", json.dumps(value).encode())

    def raw(self, status, content_type, body):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def streamed(self, words, *, end=True):
        self.begin()
        for word in words:
            if word == "[DONE]":
                self.chunk(b"data: [DONE]\n\n")
            else:
                self.event({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]})
            time.sleep(0.2)
        if end:
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        else:
            self.close_connection = True

    def event(self, value):
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()


def completion(said):
    message = {"role": "assistant", "content": said}
    return {"id": "1", "object": "chat.completion", "model": "/model", "choices": [{"index": 0, "message": message}]}


class Listening(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


class ListeningUnix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("unix", 0)


def listening(place):
    return Listening(("127.0.0.1", int(place)), Served) if place.isdigit() else ListeningUnix(place, Served)


def in_thread(place):
    """Serve in this process; for tests that need no sandbox."""
    server = listening(place)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    listening(sys.argv[1]).serve_forever()
