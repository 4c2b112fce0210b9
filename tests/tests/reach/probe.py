"""Asks each ADDRESS,PORT of the arguments by TCP and by UDP, all at once, and prints a line for each:
the answers, or `-` for what was not reached."""
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 2


def ask_tcp(address, port):
    with socket.create_connection((address, port), timeout=PATIENCE) as connection:
        return connection.recv(200)


def ask_udp(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE / 4)
        s.connect((address, port))
        for last in (False, False, False, True):
            s.send(b"who")
            try:
                return s.recv(200)
            except TimeoutError:
                if last:
                    raise


def answer(asked):
    how, address, port = asked
    try:
        return how(address, port).decode() or "-"
    except OSError:
        return "-"


asked = [(how, *place.rsplit(",", 1)) for place in sys.argv[1:] for how in (ask_tcp, ask_udp)]
asked = [(how, address, int(port)) for how, address, port in asked]
with ThreadPoolExecutor(max_workers=len(asked)) as pool:
    answers = list(pool.map(answer, asked))
for tcp, udp in zip(answers[::2], answers[1::2]):
    print(tcp, udp)
