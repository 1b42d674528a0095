"""``python warm_client.py ADDRESS ARGUMENT…``: has ``warm_commands.py`` run a command, as if it were this process."""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(f"\0{sys.argv[1]}")
    asked = {"arguments": sys.argv[2:], "environment": dict(os.environ), "directory": os.getcwd()}  # noqa: PTH109 - quick
    socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
    server.recv(16)  # its number
    code = server.recv(16)
sys.exit(int(code) if code else 70)
