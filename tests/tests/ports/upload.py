"""Sends `upload.py ADDRESS PORT BYTES` all at once, and only then reads the answer."""
import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    connection.sendall(bytes(int(sys.argv[3])))
    print(connection.recv(100).decode())
