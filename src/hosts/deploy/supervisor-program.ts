// Keeps a deployed agent running where systemd has no unit for the user. Fixed, Python 3.6 standard library only; it lies beside what it starts.
//   V1. One per folder, by a lock of the kernel's that its agent does not inherit.
//   V2. The agent is started again whenever it ends: at once the first time, then ever later, up to LONGEST; one that held out for HELD_OUT begins afresh.
//   V3. SIGTERM is passed on to the agent, and it ends after it. Nothing is started after that.
//   V4. It depends on nobody: a session of its own, output to a file, no terminal.

export const SUPERVISOR_PROGRAM = String.raw`# Keeps Trainyard's agent in this folder running. End it with SIGTERM.
import fcntl, json, os, signal, subprocess, sys, time

FIRST, LONGEST, HELD_OUT, LOG_LIMIT = 0.25, 30.0, 30.0, 4 * 1024 * 1024
folder = os.path.dirname(os.path.abspath(__file__))
os.makedirs(os.path.join(folder, "run"), mode=0o700, exist_ok=True)
lock = open(os.path.join(folder, "run", "supervisor.lock"), "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # V1
except OSError:
    sys.exit("another supervisor keeps this agent running")

stopping = False
child = None


def asked_to_stop(number, frame):
    global stopping
    stopping = True  # V3
    if child is not None:
        child.terminate()


signal.signal(signal.SIGTERM, asked_to_stop)
signal.signal(signal.SIGINT, asked_to_stop)
signal.signal(signal.SIGHUP, signal.SIG_IGN)


def note(starts, status):
    path = os.path.join(folder, "run", "supervisor.json")
    with open(path + ".new", "w") as file:
        json.dump({"starts": starts, "lastExit": status, "at": time.time()}, file)
    os.rename(path + ".new", path)


def log_file():
    path = os.path.join(folder, "logs", "agent.out")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        if os.path.getsize(path) > LOG_LIMIT:
            os.rename(path, path + ".1")
    except OSError:
        pass
    return open(path, "ab")


def begin():
    release = os.path.realpath(os.path.join(folder, "current"))
    with log_file() as log:
        return subprocess.Popen([os.path.join(release, "node"), os.path.join(release, "package/dist/agent/deployed-agent.program.js"), folder],
                                cwd=os.path.join(folder, "state"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


starts, in_a_row, status = 0, 0, None
while not stopping:
    began = time.monotonic()
    try:
        starts += 1
        note(starts, status)
        child = begin()
        if stopping:  # asked while it was started
            child.terminate()
        status = child.wait()
    except OSError as error:  # a full disk, a release that is gone
        sys.stderr.write("%s\n" % error)
        sys.stderr.flush()
        status = None
    in_a_row = 0 if time.monotonic() - began > HELD_OUT else in_a_row + 1
    until = time.monotonic() + (0 if in_a_row <= 1 else min(LONGEST, FIRST * 2 ** min(in_a_row, 10)))  # V2
    while not stopping and time.monotonic() < until:
        time.sleep(0.1)
`;
