"""Listens on `hold.py ADDRESS PORT` and answers nobody."""
import socket
import sys
import time

address, port = sys.argv[1], int(sys.argv[2])
listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
print("holds", flush=True)
time.sleep(1e6)
