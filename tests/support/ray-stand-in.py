"""Stands where Ray would: `start --head`, `start --address=...` and our await_cluster.py, over real sockets between real processes. For tests only.

A head listens at its address and port and counts the GPUs of those that have joined, its own included; a member that loses its head ends, and the other way round nobody notices.
"""

import os
import signal
import socket
import sys
import threading
import time

words = sys.argv[1:]
flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)


def connected(meeting):
    host, port = meeting.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=5)


def head():
    there, lock = [int(flags["num-gpus"])], threading.Lock()

    def serve(peer):
        with peer, peer.makefile("rw") as lines:
            asked = lines.readline().split()
            if asked[:1] == ["ask"]:
                lines.write("%d %d\n" % (sum(there), len(there)))
                lines.flush()
            elif asked[:1] == ["join"]:
                with lock:
                    there.append(int(asked[1]))
                lines.readline()

    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((flags["node-ip-address"], int(flags["port"])))
    server.listen()
    print("Ray runtime started.", flush=True)
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


def member():
    with connected(flags["address"]) as peer:
        peer.settimeout(None)
        peer.sendall(b"join %d\n" % int(flags["num-gpus"]))
        print("Ray runtime started.", flush=True)
        peer.recv(1)
    sys.exit(1)


def await_cluster(meeting, gpus, nodes):
    while True:
        try:
            with connected(meeting) as peer, peer.makefile("rw") as lines:
                lines.write("ask\n")
                lines.flush()
                if [int(text) for text in lines.readline().split()] == [gpus, nodes]:
                    return
        except OSError:
            pass
        time.sleep(0.05)


signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
if words[0].endswith("await_cluster.py"):
    await_cluster(words[1], int(words[2]), int(words[3]))
elif "--head" in words:
    head()
else:
    member()
