"""Asks 127.0.0.11 as nobody should; the first word says how."""
import os
import random
import select
import socket
import struct
import sys
import time

HERE = ("127.0.0.11", 53)
QUESTION = b"\0\7\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1"


def frame(message):
    return struct.pack("!H", len(message)) + message


def connections(count):
    made = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(HERE)
        made.append(one)
    return made


def say(one, data):
    try:
        one.send(data)
    except OSError:
        pass


def drip(data, pause, count=100):
    """The same on many connections, again and again, in pieces."""
    many = connections(count)
    print("attacks")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for one in many:
            say(one, data)
        time.sleep(pause)


def closing():
    print("attacks")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for one in connections(50):
            say(one, frame(QUESTION))
            one.close()
        time.sleep(0.01)


def from_elsewhere(kind, address, port):
    one = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    one.settimeout(1)
    try:
        one.connect((address, port))
        one.send(QUESTION if kind == "udp" else frame(QUESTION))
        print(f"{len(one.recv(512))} bytes")
    except OSError:
        print("nothing")


def malformed():
    to = socket.socket(type=socket.SOCK_DGRAM)
    head = QUESTION[:12]
    itself, each_other = b"\xc0\x0c\0\1\0\1", b"\xc0\x0e\xc0\x0c\0\1\0\1"
    labels = (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1"
    opt = b"\0\0\x29\xff\xff\0\xff\0\0\xff\xff"
    many = bytearray(QUESTION + b"\0\0\x29\0\0\0\0\0\0\0\0" * 3000)
    many[10:12] = b"\xff\xff"
    messages = [b"", b"\0", head, head + itself, head + each_other, head + labels, bytes(many)]
    messages += [QUESTION[:11] + b"\1" + QUESTION[12:] + opt, QUESTION + b"\xc0" * 60000]
    messages += [QUESTION[:n] for n in range(len(QUESTION))]
    noise = random.Random(12)
    for _ in range(3000):
        message = bytearray(noise.choice(messages[2:]) or b"\0")
        for _ in range(noise.randrange(1, 5)):
            message[noise.randrange(min(len(message), 64))] = noise.randrange(256)
        messages.append(bytes(message))
    for message in messages:
        try:
            to.sendto(message, HERE)
        except BlockingIOError:
            pass
        if len(message) > 3000 or noise.randrange(20) == 0:
            try:
                with socket.create_connection(HERE, 5) as one:
                    one.sendall(frame(QUESTION) + frame(message) + os.urandom(40))
            except TimeoutError:
                print("stuck")
                return
            except ConnectionError:
                pass
    print("sent")


def ask(names):
    to = socket.socket(type=socket.SOCK_DGRAM)
    for name in names:
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        to.sendto(QUESTION[:12] + labels + b"\0\0\1\0\1", HERE)
    print("asked")
    answers, end = 0, time.monotonic() + 15
    while answers < len(names) and time.monotonic() < end:
        if select.select([to], [], [], 0.1)[0]:
            to.recv(512)
            answers += 1
    print(f"{answers} answers")


how, *more = sys.argv[1:]
if how == "idle":
    drip(b"", 1, 1000)
elif how == "half":
    drip(b"\0", 0.5)
elif how == "empty":
    drip(b"\0\0", 0.05)
elif how == "deaf":
    drip(frame(QUESTION) * 20, 0.05)
elif how == "closing":
    closing()
elif how == "malformed":
    malformed()
elif how == "ask":
    ask(more)
else:
    from_elsewhere(how, more[0], int(more[1]))
