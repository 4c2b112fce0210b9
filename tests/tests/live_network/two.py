"""Answers on ports 8001 and 8002 with the number of the port, in HTTP."""
import socket
import threading


def serve(port):
    listener = socket.create_server(("", port), backlog=1024)
    body = f"{port}\n".encode()
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    ready.release()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)


ready = threading.Semaphore(0)
for port in (8001, 8002):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
for _ in range(2):
    ready.acquire()
print("listens", flush=True)
threading.Event().wait()
