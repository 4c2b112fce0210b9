"""Says its word to whoever asks, by TCP and UDP at `say.py WORD [PORT]`."""
import socket
import sys
import threading

word, port = sys.argv[1].encode(), int((sys.argv + ["9000"])[2])
try:
    tcp = socket.create_server(("0.0.0.0", port))
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
except OSError:
    sys.exit(print("refused", flush=True))


def datagrams():
    while True:
        _, peer = udp.recvfrom(100)
        udp.sendto(word, peer)


threading.Thread(target=datagrams, daemon=True).start()
print("says", flush=True)
while True:
    connection, _ = tcp.accept()
    with connection:
        connection.sendall(word)
