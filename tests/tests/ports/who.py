"""Answers each caller with the address it comes from: TCP and UDP on port 9000."""
import socket
import threading

tcp = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 9000))


def serve_udp():
    while True:
        _, peer = udp.recvfrom(2048)
        udp.sendto(peer[0].encode(), peer)


threading.Thread(target=serve_udp, daemon=True).start()
print("listens", flush=True)
while True:
    connection, peer = tcp.accept()
    connection.sendall(peer[0].removeprefix("::ffff:").encode())
    connection.close()
