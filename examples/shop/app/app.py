"""The shop: each visit is an order in PostgreSQL and a view counted in Redis."""
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

GREETING = os.environ.get("GREETING", "Welcome")
CACHE = redis.Redis(host="cache", socket_timeout=5)


def database():
    with open("/run/secrets/database_password") as file:
        password = file.read().strip()
    return psycopg2.connect(host="database", user="postgres", password=password, connect_timeout=5)


def order():
    connection = database()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders DEFAULT VALUES RETURNING id")
            return cursor.fetchone()[0]
    finally:
        connection.close()


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "ok\n")
        try:
            views = CACHE.incr("views")
            self.answer(200, f"{GREETING}: order {order()}, view {views}\n")
        except (psycopg2.Error, redis.RedisError) as error:
            self.answer(502, f"{error}\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if self.path != "/health":
            print(format % args)


def prepare():
    connection = database()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY)")
    connection.close()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
prepare()
print("shop listens on port 8000")
ThreadingHTTPServer(("", 8000), Shop).serve_forever()
