"""A name server that knows one name: outside.test is 198.51.100.77, all others do not exist."""
import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("listens")
while True:
    query, client = server.recvfrom(4096)
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    known = question.startswith(b"\7outside\4test\0")
    is_a = question[-4:] == b"\0\1\0\1"
    answers = 1 if known and is_a else 0
    head = query[:2] + bytes([0x81, 0x80 if known else 0x83]) + b"\0\1" + bytes([0, answers]) + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + bytes([198, 51, 100, 77])
    server.sendto(head + question + record * answers, client)
