"""Answers on TCP port 9000 before all of a question is there, and closes."""
import socket

listener = socket.create_server(("0.0.0.0", 9000))
print("listens", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(10)
        connection.sendall(b"too large")
