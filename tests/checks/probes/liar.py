"""A name server on 127.0.0.1, and whoever wants to be taken for it: before each true answer to a question
with capitals come false ones that are nearly right. All say that the name is 6.6.6.6.

outside.test is 198.51.100.77, and its answer brings addresses for names of the stack along; cname.test is
another name for one of the stack. What is asked goes to `heard.log`: number, port and spelling.
"""
import socket
import struct
import time

FALSE = bytes([6, 6, 6, 6])
log = open("heard.log", "a", buffering=1)
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
beside = socket.socket(type=socket.SOCK_DGRAM)
beside.bind(("127.0.0.1", 0))
elsewhere = socket.socket(type=socket.SOCK_DGRAM)
elsewhere.bind(("127.0.0.2", 53))


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(name, kind, data):
    return name + struct.pack("!HHIH", kind, 1, 600, len(data)) + data


def reply(number, question, answers, more=(), flags=0x8180):
    counts = struct.pack("!HHHHHH", number, flags, 1, len(answers), 0, len(more))
    return counts + question + b"".join(answers) + b"".join(more)


print("listens", flush=True)
while True:
    query, client = server.recvfrom(4096)
    number, end = struct.unpack("!H", query[:2])[0], query.index(b"\0", 12) + 1
    name, kind = query[12:end], query[end:end + 4]
    log.write(f"{number} {client[1]} {name!r}\n")
    here, lie = b"\xc0\x0c", record(b"\xc0\x0c", 1, FALSE)
    if name != name.lower():
        false = [
            reply(number ^ 1, name + kind, [lie]),
            reply((number + 1) & 0xffff, name + kind, [lie]),
            reply(number, encoded("other.test") + kind, [lie]),
            reply(number, name + b"\0\x10\0\1", [lie]),
            reply(number, name + kind, [lie], flags=0x0100),
            struct.pack("!HHHHHH", number, 0x8180, 0, 1, 0, 0) + record(name, 1, FALSE),
        ]
        for one in false:
            server.sendto(one, client)
        for other in (beside, elsewhere):
            other.sendto(reply(number, name + kind, [lie]), client)
        server.sendto(reply(number, name.lower() + kind, [lie]), client)
        time.sleep(0.02)
    plain = name.lower()
    if plain == encoded("cname.test"):
        target = encoded("database")
        answers = [record(here, 5, target), record(target, 1, FALSE)]
    else:
        answers = [record(here, 1, bytes([198, 51, 100, 77]))]
    more = [record(encoded(other), 1, FALSE) for other in ("api", "database", "web")]
    server.sendto(reply(number, name + kind, answers, more), client)
