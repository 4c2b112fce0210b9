"""Pours `pour.py ADDRESS PORT BYTES` into an echo, ends, and counts what comes back."""
import socket
import sys
import threading
import time

address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pattern = bytes(range(251))
data = (pattern * (size // len(pattern) + 1))[:size]
connection = socket.create_connection((address, port), timeout=60)


def pour():
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


threading.Thread(target=pour, daemon=True).start()
# Meanwhile nothing is read: what is on its way has to wait at every station.
time.sleep(0.5)
back = bytearray()
while part := connection.recv(65536):
    back += part
print("all came back" if back == data else f"{len(back)} of {size}")
