"""The application: greets, and counts its visitors in the store."""
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

STORE = os.environ["STORE"]
GREETING = os.environ["GREETING"]


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "ok\n")
        try:
            with urlopen(Request(f"{STORE}/visits", method="POST"), timeout=5) as reply:
                visits = int(reply.read())
        except OSError as error:
            return self.answer(502, f"no store: {error}\n")
        self.answer(200, f"{GREETING}, visitor {visits}\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if self.path != "/health":
            print(format % args, flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("app listens on port 8000", flush=True)
ThreadingHTTPServer(("", 8000), App).serve_forever()
