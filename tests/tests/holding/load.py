"""`load.py ADDRESS PORT`: four clients that connect again and again until there is a file `done`, each
waiting for its answer; each answer is a byte in the file `answered-ADDRESS`. Prints how many were
answered, and how many were not."""
import os
import socket
import sys
import threading
import time

address, port = sys.argv[1], int(sys.argv[2])
end = time.monotonic() + 560
counts = {True: 0, False: 0}
counting = threading.Lock()
answers = open(f"answered-{address}", "ab", buffering=0)


def ask():
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer.startswith(b"HTTP/1.0 200") and answer[-5:-1] in (b"8001", b"8002")


def client():
    while not os.path.exists("done") and time.monotonic() < end:
        try:
            answered = ask()
        except OSError as error:
            print(error, file=sys.stderr, flush=True)
            answered = False
        with counting:
            counts[answered] += 1
            if answered:
                answers.write(b".")
        time.sleep(0.005)


clients = [threading.Thread(target=client) for _ in range(4)]
for one in clients:
    one.start()
for one in clients:
    one.join()
print(counts[True], counts[False])
