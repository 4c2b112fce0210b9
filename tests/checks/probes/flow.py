"""Asks `flow.py ADDRESS PORT` again and again, by datagrams from one port and by new connections, and
prints each new word that is answered."""
import socket
import sys
import time

where = (sys.argv[1], int(sys.argv[2]))
datagrams = socket.socket(type=socket.SOCK_DGRAM)
datagrams.connect(where)
datagrams.setblocking(False)
told = {}


def tell(kind, word):
    if word and told.get(kind) != word:
        told[kind] = word
        print(kind, word.decode().strip(), flush=True)


print("asks", flush=True)
while True:
    try:
        datagrams.send(b"who")
    except OSError:
        pass
    time.sleep(0.05)
    try:
        tell("udp", datagrams.recv(100))
    except OSError:
        pass
    try:
        with socket.create_connection(where, 0.5) as one:
            tell("tcp", one.recv(100))
    except OSError:
        pass
