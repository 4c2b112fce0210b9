"""The data store: numbers by name, kept in /data, over HTTP.

GET /NAME gives a number, POST /NAME adds one to it. A number is written beside its file and
renamed into place, so a kill at any time leaves the old one or the new one.
"""
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

FOLDER = "/data"


def path(name):
    return os.path.join(FOLDER, "".join(c for c in name if c.isalnum()) or "unnamed")


def read(name):
    try:
        with open(path(name)) as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


def write(name, value):
    with open(path(name) + ".new", "w") as file:
        file.write(str(value))
        file.flush()
        os.fsync(file.fileno())
    os.rename(path(name) + ".new", path(name))


class Store(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer("ok" if self.path == "/health" else read(self.path))

    def do_POST(self):
        value = read(self.path) + 1
        write(self.path, value)
        self.answer(value)

    def answer(self, value):
        body = f"{value}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if self.path != "/health":
            print(format % args, flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("store listens on port 7000", flush=True)
HTTPServer(("", 7000), Store).serve_forever()
