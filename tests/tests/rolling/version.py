"""`version.py VERSION [SECONDS]`: answers on port 8000 with the version, in HTTP, after so many
seconds from its start on."""
import socket
import sys
import time

body = f"{sys.argv[1]}\n".encode()
time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
listener = socket.create_server(("", 8000), backlog=1024)
print("listens", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)
