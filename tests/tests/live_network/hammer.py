"""`hammer.py ADDRESS PORT COUNT`: connects again and again, COUNT times and until there is a file
`done`, and prints how many answers came from 8001, from 8002, and not at all; says on the other
output that it begins."""
import os
import socket
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
counts = {b"8001": 0, b"8002": 0, b"": 0}
made = 0
end = time.monotonic() + 50
print("begins", file=sys.stderr, flush=True)
while (made < count or not os.path.exists("done")) and time.monotonic() < end:
    made += 1
    try:
        with socket.create_connection((address, port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
        counts[answer[-5:-1] if answer.startswith(b"HTTP/1.0 200") else b""] += 1
    except OSError as error:
        print(error, file=sys.stderr)
        counts[b""] += 1
    # As many as there are take their share of the time of all changes.
    time.sleep(0.002)
print(*counts.values())
