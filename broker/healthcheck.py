"""`python -m broker.healthcheck PORT [PATH]`: does the process in this container say that it is well?

Exit code 0 if so, 1 with its own words if not. For the HEALTHCHECK of an image: it runs beside a
process that may take 64 MiB in all, so it imports next to nothing.
"""

import socket
import sys


def main(port: str, path: str = "/healthz") -> int:
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=4) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            while part := connection.recv(4096):
                answer += part
    except OSError as error:
        print(f"port {port}: {error}")
        return 1
    head, _, text = answer.partition(b"\r\n\r\n")
    print(text.decode(errors="replace").strip())
    return 0 if head.split()[1:2] == [b"200"] else 1


if __name__ == "__main__":
    usage = "usage: python -m broker.healthcheck PORT [/healthz or /readyz]"
    if "--help" in sys.argv:
        print(usage)
    elif not 2 <= len(sys.argv) <= 3 or not sys.argv[1].isdecimal():
        sys.exit(usage)
    else:
        sys.exit(main(*sys.argv[1:]))
