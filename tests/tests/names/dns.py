"""Scripted name servers, one on each address given; what they are asked goes to `asked.log`.

outside.test is 198.51.100.77; many.test has 200 addresses, by TCP alone; loud.test holds 3000 bytes;
silent.test and all below dead.test are never answered; refused.test is refused by the first server,
slow.test is not answered by it. All other names do not exist.
"""
import selectors
import socket
import struct
import sys

TYPES = {1: "A", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 65: "HTTPS"}
log = open("asked.log", "a", buffering=1)


def address(last):
    return b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + bytes([198, 51, 100, last])


def answer(query, stream, first):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin1").lower())
        at += 1 + query[at]
    question, (kind,) = query[12:at + 5], struct.unpack("!H", query[at + 1:at + 3])
    name = ".".join(labels)
    log.write(f"{'tcp' if stream else 'udp'} {name} {TYPES.get(kind, kind)}\n")
    code, flags, records = 0, 0, []
    if name.endswith("silent.test") or name.endswith("dead.test") or name == "slow.test" and first:
        return None
    if name == "refused.test" and first:
        code = 5
    elif name in ("outside.test", "refused.test", "slow.test"):
        records = [address(77)] if kind == 1 else []
    elif name == "many.test":
        flags = 0 if stream else 2
        records = [address(last) for last in range(1, 201)] if stream and kind == 1 else []
    elif name == "loud.test":
        text = b"\xff" + b"x" * 255
        records = [b"\xc0\x0c\0\x10\0\1\0\0\0\x1e" + struct.pack("!H", 256) + text] * 12
    else:
        code = 3
    head = query[:2] + bytes([0x81 | flags, 0x80 | code]) + struct.pack("!HHHH", 1, len(records), 0, 0)
    return head + question + b"".join(records)


def served(server, first, stream):
    if not stream:
        query, client = server.recvfrom(4096)
        reply = answer(query, False, first)
        if reply:
            server.sendto(reply, client)
        return
    client, _ = server.accept()
    with client:
        query = client.recv(4096)
        reply = answer(query[2:], True, first)
        if reply:
            client.sendall(struct.pack("!H", len(reply)) + reply)


waiting = selectors.DefaultSelector()
for index, ip in enumerate(sys.argv[1:]):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.bind((ip, 53))
    waiting.register(datagrams, selectors.EVENT_READ, (index == 0, False))
    streams = socket.create_server((ip, 53), family=family)
    waiting.register(streams, selectors.EVENT_READ, (index == 0, True))
print("listens")
while True:
    for key, _ in waiting.select():
        served(key.fileobj, *key.data)
