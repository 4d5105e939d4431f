"""One member of a training over a Ray cluster of its own: brings its part of the cluster up, and, as the head, runs the trainer on it.

Argument: a JSON file with its orders (RayOrders in src/agent/training/ray-member.ts). Python, standard library only, so that it runs wherever the trainer does.
  R1. The cluster lives and dies with this program: whatever ends it takes Ray down first, and the agent ends what that leaves. `ray stop` is never used: it
      would stop the clusters of other attempts on the host.
  R2. The trainer starts when every GPU of every member is there.
  R3. The head tells how the trainer ended in a file that all members see; a member that loses its head without that has failed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

LOOK_SECONDS = 0.3
# How long a part of the cluster may take to end after its signal; the agent kills what stays.
RAY_END_SECONDS = 8
# How long a member waits to be stopped when the trainer has failed: the head's report shall be the first.
AFTER_FAILURE_SECONDS = 60


class Failed(Exception):
    pass


class Stopped(BaseException):
    """A signal came and there is no trainer to end first."""


with open(sys.argv[1], encoding="utf-8") as file:
    orders = json.load(file)
meeting = "%s:%d" % (orders["address"], orders["port"])
ray = trainer = None
stopped = 0


def say(text):
    print("[ray] %s" % text, file=sys.stderr, flush=True)


def on_signal(number, _frame):
    global stopped
    if stopped:
        return
    stopped = number
    if trainer is None:
        raise Stopped()
    trainer.send_signal(signal.SIGINT)  # main_ppo ends in order on INT


def run(argv, more, is_trainer=False):
    """Exit status as a shell gives it."""
    global trainer
    if stopped:
        raise Stopped()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env={**os.environ, **more})
    if is_trainer:
        trainer = child
        if stopped:
            child.send_signal(signal.SIGINT)
    code = child.wait()
    return code if code >= 0 else 128 - code


def head():
    if orders["cluster"]:
        start_ray(["--head", "--node-ip-address=%s" % orders["address"], "--port=%d" % orders["port"], "--include-dashboard=false", "--temp-dir=%s" % orders["temporaryFolder"]])
        every_gpu()
        say("%d GPUs of %d nodes are there; the trainer starts" % (orders["gpusInAll"], orders["nodes"]))
    code = run(orders["trainer"], {"RAY_ADDRESS": meeting} if orders["cluster"] else {}, is_trainer=True)
    aside = "%s.new" % orders["endFile"]
    with open(aside, "w", encoding="utf-8") as file:
        json.dump({"attemptId": orders["attemptId"], "status": code}, file)
    os.replace(aside, orders["endFile"])  # R3
    return code


def every_gpu():
    """R2"""
    code = run([*orders["python"], orders["awaitProgram"], meeting, str(orders["gpusInAll"]), str(orders["nodes"]), str(round(orders["patienceMs"] / 1000))], {})
    if code != 0:
        raise Failed("the cluster did not become complete")


def member():
    if orders["cluster"]:
        join()
    while True:
        ended = read_end()
        if ended == 0:
            return 0
        if ended is not None:
            say("the trainer ended on the head with status %d" % ended)
            time.sleep(AFTER_FAILURE_SECONDS)
            return 1
        if orders["cluster"] and ray.poll() is not None:
            time.sleep(2)  # the head may have ended well a moment ago
            if read_end() is not None:
                continue
            raise Failed("this member's part of the cluster has ended: the head is gone, or cannot be reached")
        time.sleep(LOOK_SECONDS)


def join():
    until = time.monotonic() + orders["patienceMs"] / 1000
    while not is_open():
        if time.monotonic() > until:
            raise Failed("nobody answers at %s, where the head brings Ray up" % meeting)
        time.sleep(LOOK_SECONDS)
    start_ray(["--address=%s" % meeting])


def is_open():
    try:
        socket.create_connection((orders["address"], orders["port"]), timeout=2).close()
        return True
    except OSError:
        return False


def start_ray(how):
    global ray
    say("starting %s with %d GPUs and %d processors" % (" ".join(how), orders["gpus"], orders["cpus"]))
    words = [*orders["python"], "-m", "ray.scripts.scripts", "start", *how, "--num-gpus=%d" % orders["gpus"], "--num-cpus=%d" % orders["cpus"], "--disable-usage-stats", "--dashboard-agent-listen-port=0", "--block"]
    ray = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)  # a group of its own: a signal to us is not one to it


def read_end():
    try:
        with open(orders["endFile"], encoding="utf-8") as file:
            told = json.load(file)
    except (OSError, ValueError):
        return None  # not there yet
    return told["status"] if told["attemptId"] == orders["attemptId"] else None


def leave():
    """R1"""
    if ray is None or ray.poll() is not None:
        return
    ray.terminate()
    try:
        ray.wait(timeout=RAY_END_SECONDS)
    except subprocess.TimeoutExpired:
        pass


for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, on_signal)
status = 1
try:
    status = head() if orders["rank"] == 0 else member()
except Stopped:
    status = 128 + stopped
except (Failed, OSError) as error:
    say("failed: %s" % error)
finally:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    leave()
sys.exit(status)
