"""Asks 127.0.0.11 questions, given as NAME:TYPE, by UDP, or by TCP with `tcp` in front."""
import socket
import struct
import sys

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SVCB": 64, "HTTPS": 65}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


def name_at(reply, at):
    labels, back = [], None
    while reply[at]:
        if reply[at] >= 0xc0:
            back = back or at + 2
            at = struct.unpack("!H", reply[at:at + 2])[0] & 0x3fff
            continue
        labels.append(reply[at + 1:at + 1 + reply[at]].decode())
        at += 1 + reply[at]
    return ".".join(labels), back or at + 1


def told(reply):
    flags, _, answers = struct.unpack("!HHH", reply[2:8])
    _, at = name_at(reply, 12)
    at += 4
    words = [CODES.get(flags & 15, str(flags & 15))] + (["cut"] if flags & 0x200 else [])
    for _ in range(answers):
        _, at = name_at(reply, at)
        kind, _, _, length = struct.unpack("!HHIH", reply[at:at + 10])
        data, at = reply[at + 10:at + 10 + length], at + 10 + length
        if kind == 1:
            words.append(socket.inet_ntoa(data))
        elif kind == 28:
            words.append(socket.inet_ntop(socket.AF_INET6, data))
        elif kind == 12:
            words.append(name_at(reply, at - length)[0])
        else:
            words.append(f"{length} bytes")
    return " ".join(words)


def ask(text, stream):
    name, kind = text.rsplit(":", 1)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0"
    query += struct.pack("!HH", TYPES[kind], 1)
    if not stream:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to:
            to.settimeout(8)
            to.sendto(query, ("127.0.0.11", 53))
            return told(to.recv(65535))
    with socket.create_connection(("127.0.0.11", 53), 8) as to:
        to.sendall(struct.pack("!H", len(query)) + query)
        got = b""
        while len(got) < 2 or len(got) < 2 + struct.unpack("!H", got[:2])[0]:
            more = to.recv(65535)
            if not more:
                return "closed"
            got += more
        return told(got[2:])


questions = sys.argv[1:]
by_stream = questions[0] == "tcp"
for question in questions[by_stream:]:
    try:
        print(question, ask(question, by_stream))
    except TimeoutError:
        print(question, "silence")
