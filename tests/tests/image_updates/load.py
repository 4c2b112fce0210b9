"""`load.py ADDRESS PORT WAYS`: clients that ask again and again until there is a file `done`, in these
ways: `short`, `long` (more than half a second until all of the answer is there) and `udp` (each time
from another socket). Each answer is a byte in the file `answered-ADDRESS-PORT-WAY`. Prints of each way how
many were answered, and how many were not or not by one version alone."""
import os
import socket
import sys
import threading
import time

address, port, ways = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
end = time.monotonic() + 560
VERSIONS = [b"8001", b"8002", b"bad"]


def http(path):
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer.removeprefix(b"HTTP/1.0 200 OK\r\n\r\n").split()


def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(10)
        datagrams.sendto(b"?", (address, port))
        return [datagrams.recv(4096)]


ASK = {"short": lambda: http(b"/"), "long": lambda: http(b"/long"), "udp": udp}
LINES = {"short": 1, "long": 30, "udp": 1}


counting = threading.Lock()


def client(way, count, failed):
    with open(f"answered-{address}-{port}-{way}", "ab", buffering=0) as answers:
        while not os.path.exists("done") and time.monotonic() < end:
            try:
                lines = ASK[way]()
                assert len(lines) == LINES[way] and len(set(lines)) == 1, lines
                assert lines[0] in VERSIONS, lines
                with counting:
                    count[way] += 1
                answers.write(b".")
            except (OSError, AssertionError) as error:
                print(way, time.time(), repr(error), file=sys.stderr, flush=True)
                with counting:
                    failed[way] += 1
            time.sleep(0.005)


counts = {way: 0 for way in ways}
fails = {way: 0 for way in ways}
clients = [
    threading.Thread(target=client, args=[way, counts, fails])
    for way in ways
    for _ in range(4 if way == "short" else 1)
]
for one in clients:
    one.start()
for one in clients:
    one.join()
for way in ways:
    print(way, counts[way], fails[way])
