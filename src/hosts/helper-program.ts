// The helper that runs on a host: one fixed program, Python 3.6 standard library only, JSON lines on standard input and output. remote-helper.ts speaks to it.
//   R1. No command line is ever made of what a user wrote: programs get an argv, the one shell text is a constant.
//   R2. A program's life depends on nothing of ours: it leads a session of its own, its output goes to files, its launcher writes who it is and how it ended.
//   R3. The launch file is created exclusively: of two starts of one attempt only one runs the program, however many helpers there are.
//   R4. A process is named by pid and start time; a signal goes only to the very process that was seen. Members are recorded before the first signal.
//   R5. It ends with its connection, or when nothing was heard for SILENCE seconds: what is left of a broken connection never lingers.
//   R6. Files are looked at LOOK times a second by stat; bytes are read and sent only when there are new ones, a piece per file and round.

import { LAUNCHER } from "../launcher-script.js";
import { HELPER_ATTEMPTS } from "./helper-attempts.js";
import { HELPER_STORE } from "./helper-store.js";

/** The local launcher, and then the exit status is brought to the disk (helper-attempts.ts, A2). */
export const REMOTE_LAUNCHER = `${LAUNCHER}/bin/sync "$exit" 2>/dev/null || :\n`;

/** What the helper is asked to run at its start is this much text; its sha256 names the file. */
export const HELPER_PROGRAM = String.raw`# Trainyard's helper on an SSH host. Installed and removed with the working directory; it ends with its connection.
import base64, errno, fcntl, hashlib, json, os, re, select, shutil, signal, subprocess, sys, threading, time

LAUNCHER = ${JSON.stringify(REMOTE_LAUNCHER)}
EXIT_ROOM = b" " * 62 + b"\n"
SILENCE = 90
LOOK = 5
PIECE = 192 * 1024
out = sys.stdout.buffer
out_lock = threading.Lock()


class Refused(Exception):
    def __init__(self, code, message):
        Exception.__init__(self, message)
        self.code = code


def send(message):
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    with out_lock:
        try:
            out.write(line)
            out.flush()
        except (OSError, ValueError):
            leave()  # R5


def read_text(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return None


# -- processes --

def row_of(pid):
    text = read_text("/proc/%d/stat" % pid)
    if text is None:
        return None
    fields = text[text.rfind(")") + 2:].split(" ")
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return None
    return {"pid": pid, "startedAt": fields[19], "parent": int(fields[1]), "session": int(fields[3])}


def alive(who):
    row = row_of(who["pid"])
    return row is not None and row["startedAt"] == who["startedAt"]


def carries(pid, mark):
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


def members(launcher, mark, known):
    mark = mark.encode()
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            row = row_of(int(name))
            if row is not None:
                table[row["pid"]] = row
    leader = table.get(launcher["pid"])
    ours = leader is None or leader["startedAt"] == launcher["startedAt"]
    found = set()
    for who in [launcher] + known:
        if who["pid"] in table and table[who["pid"]]["startedAt"] == who["startedAt"]:
            found.add(who["pid"])
    for pid, row in table.items():
        if (ours and row["session"] == launcher["pid"]) or carries(pid, mark):
            found.add(pid)
    before = -1
    while before != len(found):
        before = len(found)
        for pid, row in table.items():
            if row["parent"] in found:
                found.add(pid)
    found.discard(os.getpid())
    return [table[pid] for pid in sorted(found)]


def signal_one(who, number):
    if not alive(who):  # R4
        return
    try:
        os.kill(who["pid"], number)
    except OSError:
        pass


def stop(launcher, mark, first, known, grace):
    rows = members(launcher, mark, known)  # R4
    main = [row for row in rows if row["parent"] == launcher["pid"]] if first else []
    for row in main or rows:
        signal_one(row, getattr(signal, first) if main else signal.SIGTERM)
    until, linger = time.monotonic() + grace, None
    while any(alive(row) for row in rows) and time.monotonic() < (until if linger is None else min(until, linger)):
        time.sleep(0.025)
        if main and linger is None and not any(alive(row) for row in main):
            linger = time.monotonic() + 10
    insist = time.monotonic() + 10
    while True:
        rows = [row for row in members(launcher, mark, rows) if alive(row)]
        if not rows or time.monotonic() > insist:
            return rows
        for row in rows:
            signal_one(row, signal.SIGKILL)
        time.sleep(0.025)


# -- starting --

def find_program(name, path, directory):
    if not name or "\0" in name:
        raise Refused("COMMAND_NOT_FOUND", "run[0] is empty: there is no program to start.")
    if "/" in name:
        candidates = [os.path.join(directory, name)]
    else:
        candidates = [os.path.join(directory, folder, name) for folder in (path or "/usr/local/bin:/usr/bin:/bin").split(":") if folder]
    files = [candidate for candidate in candidates if os.path.isfile(candidate)]
    for candidate in files:
        if os.access(candidate, os.X_OK):
            return candidate
    if files:
        raise Refused("PERMISSION_DENIED", "%s may not be executed by this user." % files[0])
    raise Refused("COMMAND_NOT_FOUND", "There is no program %s on this host." % json.dumps(name))


def private(path, flags):
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


${HELPER_ATTEMPTS}

# -- files --

def stat(path):
    try:
        found = os.lstat(path)
    except OSError:
        return None
    kind = {0o100000: "file", 0o040000: "folder", 0o120000: "link"}.get(found.st_mode & 0o170000, "other")
    return {"kind": kind, "size": found.st_size, "changedMs": found.st_mtime * 1000}


def regular(path):
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if (os.fstat(handle).st_mode & 0o170000) != 0o100000:
        os.close(handle)
        raise Refused("FILE_NOT_FOUND", "%s is no regular file." % path)
    return handle


def read(request):
    handle = regular(request["path"])
    try:
        os.lseek(handle, request["offset"], os.SEEK_SET)
        data = os.read(handle, min(request["length"], PIECE))
        return {"data": base64.b64encode(data).decode(), "size": os.fstat(handle).st_size}
    finally:
        os.close(handle)


def entries(path):
    return [dict(stat(os.path.join(path, name)) or {"kind": "gone", "size": 0, "changedMs": 0}, name=name) for name in sorted(os.listdir(path))[:100000]]


tails = {}
tails_lock = threading.Lock()
news = threading.Event()


def look(key, tail):
    """One piece of one file; whether there is more."""
    try:
        found = os.lstat(tail["path"])
        if tail["inode"] is not None and (found.st_ino != tail["inode"] or found.st_size < tail["offset"]):
            tail["offset"], tail["inode"] = 0, found.st_ino
            send({"tail": key, "restart": True})
        tail["inode"] = found.st_ino
        if found.st_size <= tail["offset"]:
            if found.st_size < tail["offset"]:
                tail["offset"] = 0
                send({"tail": key, "restart": True})
            return False
        handle = regular(tail["path"])
    except (OSError, Refused):
        return False
    try:
        os.lseek(handle, tail["offset"], os.SEEK_SET)
        data = os.read(handle, PIECE)
    except OSError:
        return False
    finally:
        os.close(handle)
    if not data:
        return False
    send({"tail": key, "offset": tail["offset"], "data": base64.b64encode(data).decode()})
    tail["offset"] += len(data)
    return tail["offset"] < found.st_size


def follow():
    while True:
        with tails_lock:
            now = list(tails.items())
        more = False
        for key, tail in now:
            more = look(key, tail) or more  # R6
        if not more:
            news.wait(1.0 / LOOK if now else 60)
            news.clear()


# -- GPUs --

def gpus(program):
    def ask(*arguments):
        try:
            done = subprocess.run([program] + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
            return {"status": done.returncode, "text": done.stdout.decode("utf-8", "replace")[:262144]}
        except FileNotFoundError:
            return {"status": None, "text": "absent"}
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"status": -1, "text": str(error)[:500]}
    listed = ask("--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu", "--format=csv,noheader,nounits")
    return {"gpus": listed, "processes": ask("--query-compute-apps=pid,gpu_uuid", "--format=csv,noheader") if listed["status"] == 0 else None}


# -- files that are brought --
${HELPER_STORE}

def answer(request):
    op = request["op"]
    if op == "ping":
        return {"time": time.time()}
    if op in ATTEMPTS:
        return ATTEMPTS[op](request)
    if op == "members":
        return {"members": members(request["launcher"], request["mark"], request["known"])}
    if op == "stop":
        return {"left": stop(request["launcher"], request["mark"], request.get("first"), request["known"], request["graceMs"] / 1000.0)}
    if op == "gpus":
        return gpus(request["program"])
    if op == "stat":
        return {"stats": [stat(path) for path in request["paths"]]}
    if op == "list":
        return {"entries": entries(request["path"])}
    if op == "read":
        return read(request)
    if op == "tail":
        with tails_lock:
            tails[request["key"]] = {"path": request["path"], "offset": request["offset"], "inode": None}
        news.set()
        return {}
    if op == "untail":
        with tails_lock:
            tails.pop(request["key"], None)
        return {}
    if op in STORE:
        return STORE[op](request)
    raise Refused("INTERNAL", "the helper knows no operation %s" % json.dumps(op))


def serve(request):
    try:
        send({"id": request["id"], "ok": answer(request)})
    except Refused as error:
        send({"id": request["id"], "error": {"code": error.code, "message": str(error)}})
    except OSError as error:
        code = {errno.ENOSPC: "DISK_FULL", errno.EDQUOT: "DISK_FULL", errno.EACCES: "PERMISSION_DENIED", errno.EPERM: "PERMISSION_DENIED", errno.EROFS: "PERMISSION_DENIED", errno.ENOENT: "FILE_NOT_FOUND"}.get(error.errno, "INTERNAL")
        send({"id": request["id"], "error": {"code": code, "message": str(error)}})
    except Exception as error:
        send({"id": request["id"], "error": {"code": "INTERNAL", "message": "%s: %s" % (type(error).__name__, error)}})


def main():
    threading.Thread(target=follow, daemon=True).start()
    pending = b""
    while True:
        ready, _, _ = select.select([0], [], [], SILENCE)
        piece = os.read(0, 1 << 20) if ready else b""
        if not piece:
            leave()  # R5
        pending += piece
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            request = json.loads(line.decode())
            if request["op"] in ATTEMPTS_ASIDE + ("stop", "gpus", "members", "list", "digest", "keep", "probe", "unclaim", "discard", "use", "sweep"):
                threading.Thread(target=serve, args=(request,), daemon=True).start()
            else:
                serve(request)


try:
    BOOT = (read_text("/proc/sys/kernel/random/boot_id") or "").strip()
    SPACE = os.readlink("/proc/self/ns/pid")
except OSError:
    SPACE = ""
send({"ready": 1, "boot": BOOT, "realm": (BOOT + " " + SPACE).strip(), "directory": DIRECTORY, "home": os.path.expanduser("~"), "python": "%d.%d.%d" % sys.version_info[:3], "cpus": len(os.sched_getaffinity(0)), "memoryMiB": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20, "pid": os.getpid(), "time": time.time()})
main()
`;

/**
 * What the command line holds, in base64, so that every login shell passes it on unread: reads one line of JSON (directory, sha256, size), takes the program from
 * <directory>/helper/<sha256>.py or, when that is not there or not whole, from standard input, puts it there whole, and runs it.
 */
export const HELPER_BOOTSTRAP = String.raw`
import errno, hashlib, json, os, sys
def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
def line():
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        text += byte
    return text
def body(size):
    text = b""
    while len(text) < size:
        piece = os.read(0, size - len(text))
        if not piece:
            sys.exit(0)
        text += piece
    return text
asked = json.loads(line().decode())
directory = os.path.expanduser(asked["directory"])
folder = os.path.join(directory, "helper")
place = os.path.join(folder, asked["sha256"] + ".py")
try:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        with open(place, "rb") as file:
            program = file.read()
    except (IOError, OSError):
        program = b""
    if hashlib.sha256(program).hexdigest() != asked["sha256"]:
        say({"need": 1})
        program = body(asked["size"])
        if hashlib.sha256(program).hexdigest() != asked["sha256"]:
            raise ValueError("the helper did not arrive whole")
        aside = "%s.%d" % (place, os.getpid())
        try:
            with open(aside, "wb") as file:
                file.write(program)
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, place)
        finally:
            if os.path.exists(aside):
                os.unlink(aside)
    directory = os.path.realpath(directory)
except OSError as error:
    say({"refused": errno.errorcode.get(error.errno, "EIO"), "message": str(error)})
    sys.exit(1)
exec(compile(program, place, "exec"), {"__name__": "__main__", "DIRECTORY": directory})
`;
