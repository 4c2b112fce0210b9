"""`crowd.py NAME COUNT`: asks on so many connections at once, and once there is a file `go` prints how
many were answered."""
import os
import socket
import struct
import sys
import time

name, count = sys.argv[1].encode(), int(sys.argv[2])
query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name + b"\0\0\1\0\1"
made = [socket.create_connection(("127.0.0.11", 53), 8) for _ in range(count)]
for one in made:
    one.sendall(struct.pack("!H", len(query)) + query)
print("asked", flush=True)
end = time.monotonic() + 20
while not os.path.exists("go") and time.monotonic() < end:
    time.sleep(0.01)
answered = 0
for one in made:
    try:
        answered += len(one.recv(512)) > len(query)
    except OSError:
        pass
print(answered, "of", count)
