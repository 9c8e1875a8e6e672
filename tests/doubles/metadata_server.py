"""Azure's metadata service on loopback: what it says by path, its faults, and its insistence on its header."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.doubles.tee_reports import CHAIN


def pem(der):
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def told(vcek=CHAIN[0], above=CHAIN[1:]):
    """What it tells of a chip's certificates."""
    chain = "".join(map(pem, above))
    return json.dumps({"vcekCert": pem(vcek), "tcbm": "D", "certificateChain": chain, "cacheControl": "1"}).encode()


@contextlib.contextmanager
def metadata_server(answers, *, statuses=(), drip=0.0):
    """`answers` by path: bytes, or a function of the request's body; `statuses` come first; `drip`: seconds a byte."""
    waiting, stopped, asked = list(statuses), threading.Event(), []

    class Metadata(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, body))
            answer = answers.get(self.path)
            status = 404 if answer is None else 200
            if self.headers.get("Metadata") != "true" or "X-Forwarded-For" in self.headers:
                status = 400
            status = waiting.pop(0) if waiting else status
            data = (answer(body) if callable(answer) else answer) if status == 200 else b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):
                for at in range(len(data)) if drip else ():
                    self.wfile.write(data[at : at + 1])
                    if stopped.wait(drip):
                        return
                self.wfile.write(b"" if drip else data)

        do_POST = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
