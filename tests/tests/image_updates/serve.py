"""`serve.py`: answers on port 8000 with the version in `/version`: in HTTP, for `/long` line by line for
more than half a second, and by a datagram. When it is told to stop, it ends what it has begun. A bad
version runs once only: who comes while there is one finds that something is missing."""
import fcntl
import signal
import socket
import sys
import threading
import time

version = open("/version", "rb").read().strip()
if version == b"bad":
    lock = open("/srv/shared/lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("no table called orders")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("", 8000), backlog=1024)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("", 8000))


def answer(connection):
    with connection:
        lines = 30 if b" /long " in connection.recv(4096) else 1
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        for line in range(lines):
            time.sleep(0.02 if line else 0)
            connection.sendall(version + b"\n")


def answer_datagrams():
    while True:
        _, sender = datagrams.recvfrom(4096)
        datagrams.sendto(version, sender)


threading.Thread(target=answer_datagrams, daemon=True).start()
print("listens", flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=answer, args=[connection]).start()
