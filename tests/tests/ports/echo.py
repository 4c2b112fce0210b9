"""Sends back what comes on TCP port 9000, and its end."""
import socket
import threading


def serve(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


listener = socket.create_server(("0.0.0.0", 9000))
print("listens", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
