"""The web front: a page of its own at /, everything below /api/ from the application."""
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import urlopen

APP = os.environ["APP"]
PAGE = """<!doctype html><title>berth quick start</title>
<h1>It works</h1><p id=greeting>&hellip;</p>
<script>fetch("/api/").then(r => r.text()).then(t => greeting.textContent = t)</script>
"""


class Front(BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/api/"):
            return self.answer(200, "text/html", PAGE.encode())
        try:
            with urlopen(APP + self.path.removeprefix("/api"), timeout=10) as reply:
                self.answer(reply.status, "text/plain", reply.read())
        except HTTPError as error:
            self.answer(error.code, "text/plain", error.read())
        except OSError as error:
            self.answer(502, "text/plain", f"no application: {error}\n".encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(format % args, flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("front listens on port 8080", flush=True)
ThreadingHTTPServer(("", 8080), Front).serve_forever()
