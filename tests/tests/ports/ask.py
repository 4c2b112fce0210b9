"""Asks `ask.py tcp|udp ADDRESS PORT` and prints the answer; fails when there is none."""
import socket
import sys

kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "tcp":
    with socket.create_connection((address, port), timeout=3) as connection:
        answer = connection.recv(200)
else:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((address, port))
        s.send(b"who")
        answer = s.recv(200)
print(answer.decode())
sys.exit(0 if answer else 1)
