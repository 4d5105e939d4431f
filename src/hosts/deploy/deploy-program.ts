// The program that installs, starts, stops and removes an agent on a host: fixed, Python 3.6 standard library only, JSON lines on standard input and output, put there by content hash like
// the helper. deployer.ts speaks to it. Everything lies in <working directory>/agent:
//   releases/<name>/{manifest,package,node}, current → one of them, config.json, token, ca.pem, previous.json, supervisor.py, stop, run, logs, state (TRAINYARD_AGENT_DIR).
//   Y1. A release's folder gets its name only when every file of it was found whole against the manifest and its program was run; `current` is replaced by a rename.
//   Y2. A process is ours when its arguments name our program below this folder; it is named by pid and start time, and a signal goes only to the very process that was seen.
//   Y3. What changes something is done by one of these programs at a time (a lock of the kernel's): after a cut connection the one before may still be at work.
//   Y4. Whatever was begun may be begun again: each operation looks at what is there first.
//   Y5. No command line is made of what a user wrote, and none holds a token or a variable: those are files with mode 0600.

import { INSTALL_PART } from "./deploy-program-install.js";
import { RUN_PART } from "./deploy-program-run.js";
import { SUPERVISOR_PROGRAM } from "./supervisor-program.js";

export const DEPLOY_PROGRAM = String.raw`# Trainyard's program for an agent of its own on this host. It ends with its connection.
import errno, fcntl, glob, gzip, hashlib, json, os, pwd, shutil, signal, ssl, subprocess, sys, tarfile, time
import urllib.error, urllib.request

SUPERVISOR = ${JSON.stringify(SUPERVISOR_PROGRAM)}
AGENT = os.path.join(DIRECTORY, "agent")
RELEASES = os.path.join(AGENT, "releases")
STATE = os.path.join(AGENT, "state")
PROGRAM = "package/dist/agent/deployed-agent.program.js"
UNITS = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "systemd", "user")
RUNTIME = os.environ.get("XDG_RUNTIME_DIR") or "/run/user/%d" % os.getuid()
BUS = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME, DBUS_SESSION_BUS_ADDRESS=os.environ.get("DBUS_SESSION_BUS_ADDRESS") or "unix:path=%s/bus" % RUNTIME)


class Refused(Exception):
    def __init__(self, code, message):
        Exception.__init__(self, message)
        self.code = code


def at(*parts):
    return os.path.join(AGENT, *parts)


def text_of(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return None


def json_of(path):
    try:
        return json.loads(text_of(path))
    except (TypeError, ValueError):
        return None


def write(path, content, mode=0o600):
    aside = "%s.%d" % (path, os.getpid())
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, path)


def drop(path):
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def hash_of(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            found.update(piece)
    return found.hexdigest()


def run(argv, seconds=20, env=None):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env=env)
        return done.returncode, done.stdout.decode("utf-8", "replace").strip()
    except subprocess.TimeoutExpired:
        return None, "no answer within %d s" % seconds
    except OSError as error:
        return None, str(error)


# -- processes --

def row_of(pid):
    text = text_of("/proc/%d/stat" % pid)
    if text is None:
        return None
    fields = text[text.rfind(")") + 2:].split(" ")
    return None if len(fields) < 20 or fields[0] in ("Z", "X") else {"pid": pid, "startedAt": fields[19]}


def alive(who):
    row = row_of(who["pid"])
    return row is not None and row["startedAt"] == who["startedAt"]


def send_signal(who, number):
    if alive(who):  # Y2
        try:
            os.kill(who["pid"], number)
        except OSError:
            pass


def arguments(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def my_pids():
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if os.stat("/proc/" + name).st_uid == os.getuid():
                    yield int(name)
            except OSError:
                pass


def ours():
    found = []
    for pid in my_pids():
        words = arguments(pid)[1:4]
        kind = "supervisor" if at("supervisor.py") in words else "agent" if any(word.startswith(AGENT + "/") and word.endswith("/" + PROGRAM) for word in words) else None
        row = row_of(pid) if kind else None
        if row is not None:
            found.append(dict(row, kind=kind))
    return found


def programs():
    """Programs of attempts, by the output folder in their environment."""
    mark = ("TRAINYARD_OUTPUT_DIR=" + os.path.join(os.path.realpath(STATE), "attempts") + "/").encode()
    found = []
    for pid in my_pids():
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                if any(word.startswith(mark) for word in file.read().split(b"\0")):
                    row = row_of(pid)
                    if row is not None:
                        found.append(row)
        except OSError:
            pass
    return found


# -- looking --

def libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def nodes():
    home = os.path.expanduser("~")
    places = [os.path.join(folder, "node") for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    places += ["/usr/local/bin/node", "/usr/bin/node", home + "/.local/bin/node"] + sorted(glob.glob(home + "/.nvm/versions/node/*/bin/node"), reverse=True)
    found, seen = [], set()
    for place in places:
        real = os.path.realpath(place)
        if real in seen or real.startswith(AGENT + "/") or not os.access(real, os.X_OK) or not os.path.isfile(real):
            continue
        seen.add(real)
        status, said = run([real, "--version"], 10)
        if status == 0:
            found.append({"path": real, "version": said[:40]})
    return found


def systemd():
    if shutil.which("systemctl") is None:
        return {"usable": False, "reason": "there is no systemctl", "linger": False}
    if not all(letter.isalnum() or letter in "/._+@-" for letter in AGENT):
        return {"usable": False, "reason": "a unit cannot name the folder %s" % AGENT, "linger": False}
    status, said = run(["systemctl", "--user", "show", "--property=Version"], 10, BUS)
    if status != 0 or "Version=" not in said:
        return {"usable": False, "reason": (said.split("\n") or [""])[-1][:300] or "systemctl --user fails", "linger": False}
    return {"usable": True, "reason": None, "linger": lingers()}


def lingers():
    name = pwd.getpwuid(os.getuid()).pw_name
    status, said = run(["loginctl", "show-user", name, "--property=Linger"], 10)
    return os.path.exists("/var/lib/systemd/linger/" + name) or (status == 0 and "Linger=yes" in said)


def running(unit):
    """Who runs here, and what it says of itself."""
    said = json_of(at("run", "agent.json"))
    kinds = ours()
    agent = next((row for row in kinds if row["kind"] == "agent" and said and row["pid"] == said.get("pid") and row["startedAt"] == said.get("startedAt")), None)
    active = os.path.exists(os.path.join(UNITS, unit)) and run(["systemctl", "--user", "is-active", unit], 10, BUS)[1] in ("active", "activating", "reloading")
    starts = json_of(at("run", "supervisor.json"))
    if active:
        counted = run(["systemctl", "--user", "show", unit, "--property=NRestarts"], 10, BUS)[1].partition("=")[2]
        starts = {"starts": 1 + int(counted)} if counted.isdigit() else None
    return {
        "agent": agent and {"pid": agent["pid"], "startedAt": agent["startedAt"], "release": said.get("release"), "configSha256": said.get("configSha256"), "connectedAt": said.get("connectedAt")},
        "supervision": "SYSTEMD" if active else "SUPERVISED" if any(row["kind"] == "supervisor" for row in kinds) else None,
        "processes": kinds, "starts": (starts or {}).get("starts", 0),
    }


def current():
    try:
        return os.path.basename(os.readlink(at("current")))
    except OSError:
        return None


def look(request):
    os.makedirs(AGENT, mode=0o700, exist_ok=True)
    probe = at(".write-%d" % os.getpid())
    write(probe, "")
    os.unlink(probe)
    space = os.statvfs(AGENT)
    if not os.listdir(AGENT):
        os.rmdir(AGENT)  # a refusal leaves nothing
    token, config = text_of(at("token")), text_of(at("config.json"))
    return {
        "system": os.uname().sysname, "machine": os.uname().machine, "libc": libc(), "directory": DIRECTORY, "path": os.environ.get("PATH", ""), "user": pwd.getpwuid(os.getuid()).pw_name,
        "freeBytes": space.f_bavail * space.f_frsize, "nodes": nodes(), "systemd": systemd(), "current": current(), "running": running(request["unit"]),
        "tokenSha256": None if token is None else hashlib.sha256(token.strip().encode()).hexdigest(), "configSha256": None if config is None else hashlib.sha256(config.encode()).hexdigest(),
    }


def reach(request):
    """Whether the control plane answers from here, and knows the token."""
    context = None
    if request["url"].startswith("https:"):
        context = ssl.create_default_context(cadata=request["ca"]) if request["ca"] else ssl.create_default_context()  # as Node does it: an authority of one's own stands for all others
    handlers = [urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=context)] if context else [])
    asked = urllib.request.Request(request["url"], data=b"{}", headers={"content-type": "application/json", "authorization": "Bearer " + request["token"]})
    try:
        with urllib.request.build_opener(*handlers).open(asked, timeout=10) as answer:
            return {"status": answer.status, "error": None}
    except urllib.error.HTTPError as error:
        body = error.read(2000).decode("utf-8", "replace")
        try:
            code = json.loads(body).get("code")
        except (ValueError, AttributeError):
            code = None
        return {"status": error.code, "error": None, "code": code}
    except Exception as error:
        return {"status": None, "error": str(getattr(error, "reason", error))[:500]}


${INSTALL_PART}${RUN_PART}# -- removing --

def holds(folder):
    """Whether a checkpoint or a registered data file that was reported from this attempt still exists (as in the agent's housekeeping)."""
    for name in ("checkpoints", "datasets"):
        text = text_of(os.path.join(folder, name))
        for line in (text or "").splitlines():
            try:
                if line and os.path.exists(json.loads(line)):
                    return name
            except ValueError:
                return name
    return None


def end_programs():
    left = programs()
    for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        for row in left:
            send_signal(row, number)
        until = time.monotonic() + seconds
        while left and time.monotonic() < until:
            time.sleep(0.1)
            left = programs()
    return left


def remove(request):
    stop(dict(request, mode="detach"))
    left = end_programs()
    if left:
        raise Refused("STILL_RUNNING", "programs of attempts do not end (pid %s)" % ", ".join(str(row["pid"]) for row in left))
    forget_unit(request["unit"])
    if not os.path.isdir(AGENT):
        return {"kept": []}
    kept = []
    attempts = os.path.join(STATE, "attempts")
    within = glob.escape(attempts)  # a real path may hold anything; what it does not name would be dropped with its checkpoints
    for folder in sorted(glob.glob(os.path.join(within, "*", "*", "*"))):
        if holds(folder):
            kept.append(folder)
        else:
            drop(folder)
    for folder in glob.glob(os.path.join(within, "*", "*")) + glob.glob(os.path.join(within, "*")) + [attempts]:
        try:
            os.rmdir(folder)
        except OSError:
            pass
    for name in os.listdir(AGENT):
        if name not in ("state", "lock"):
            drop(at(name))
    if os.path.isdir(STATE):
        for name in os.listdir(STATE):
            if name != "attempts":
                drop(os.path.join(STATE, name))
    if not kept:
        drop(AGENT)
    return {"kept": kept}


def unit(request):
    return {"text": unit_text(request["name"])}


ASKING = {"unit": unit, "look": look, "reach": reach, "state": state, "log": log, "has-node": has_node, "installed": installed}
CHANGING = {"install": install, "activate": activate, "revert": revert, "linger": linger, "start": start, "stop": stop, "tidy": tidy, "remove": remove}


def answer(request):
    if request["op"] in ASKING:
        return ASKING[request["op"]](request)
    os.makedirs(AGENT, mode=0o700, exist_ok=True)
    handle = os.open(at("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(600):  # Y3
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise Refused("BUSY", "another order for this agent is still at work on the host")
        return CHANGING[request["op"]](request)
    finally:
        os.close(handle)


def main():
    sys.stdout.write(json.dumps({"ready": 1, "directory": DIRECTORY}) + "\n")
    sys.stdout.flush()
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        try:
            said = {"id": request["id"], "ok": answer(request)}
        except Refused as error:
            said = {"id": request["id"], "error": {"code": error.code, "message": str(error)}}
        except OSError as error:
            code = {errno.ENOSPC: "DISK_FULL", errno.EDQUOT: "DISK_FULL", errno.EACCES: "PERMISSION_DENIED", errno.EPERM: "PERMISSION_DENIED", errno.EROFS: "PERMISSION_DENIED"}.get(error.errno, "FAILED")
            said = {"id": request["id"], "error": {"code": code, "message": str(error)}}
        except Exception as error:
            said = {"id": request["id"], "error": {"code": "FAILED", "message": "%s: %s" % (type(error).__name__, error)}}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


main()
`;
