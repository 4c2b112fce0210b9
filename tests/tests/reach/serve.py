"""Answers each caller with the address it comes from, TCP and UDP, IPv4 and IPv6, on these ports."""
import socket
import sys
import threading


def serve_tcp(server):
    while True:
        connection, peer = server.accept()
        connection.sendall(peer[0].removeprefix("::ffff:").encode())
        connection.close()


def serve_udp(server):
    while True:
        _, peer = server.recvfrom(2048)
        server.sendto(peer[0].encode(), peer)


for port in map(int, sys.argv[1:]):
    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve_tcp, args=(tcp,)).start()
    for family, every in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind((every, port))
        threading.Thread(target=serve_udp, args=(udp,)).start()
print("listens", flush=True)
