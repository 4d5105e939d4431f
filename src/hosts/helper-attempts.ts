// The part of the helper (helper-program.ts) that deals with attempts: starting their programs, telling how they stand, short questions, what they left.
//   A1. A folder belongs to one attempt: what another one left under the same path is set aside, never taken for the new one's.
//   A2. Launch and exit file are on the disk when they are told of: a power cut makes nobody start a program twice or forget how one ended.
//   A3. A question that nobody waits for any more is ended with all that it started, also when the helper ends.
//   A4. Deleted is only what lies below the folders that were named, deep enough to be one attempt's; the real path decides. It loses its name first.

/** Python; uses Refused, find_program, read_text, alive, BOOT and SPACE of the whole. */
export const HELPER_ATTEMPTS = String.raw`
def lasting(path):
    """A2"""
    for name in (path, os.path.dirname(path)):
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def own_folder(root, owner):
    """A1"""
    note = os.path.join(root, "attempt")
    text = read_text(note)
    if text is not None and text.strip() == owner:
        return
    if os.path.isdir(root) and os.listdir(root):
        aside = "%s.%s" % (root, text.strip() if text is not None and re.match(r"^att_[0-9A-Za-z]+$", text.strip()) else "unknown")
        os.rename(root, aside if not os.path.exists(aside) else "%s.%d" % (aside, time.time() * 1000))
    os.makedirs(root, mode=0o700, exist_ok=True)
    aside = "%s.%s.%d.%d" % (root, owner, os.getpid(), threading.get_ident())
    with open(aside, "wb", opener=private) as file:  # never half there: another helper may claim it at the same time
        file.write(owner.encode() + b"\n")
    os.rename(aside, note)
    lasting(note)


def environment_of(request):
    environment = {name: os.environ[name] for name in request["inherit"] if name in os.environ}
    environment.update(request["environment"])
    if request.get("pathFirst"):
        environment["PATH"] = request["pathFirst"] + ":" + environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return environment


def launch_of(path):
    text = read_text(path)
    if text is None or not text.endswith("\n"):
        return None
    said = json.loads(text)
    fields = said["stat"].split(" ")
    return {"pid": said["pid"], "startedAt": fields[19] if len(fields) > 19 else "gone", "boot": said["boot"]}


def start(request):
    own_folder(request["root"], request["owner"])
    directory = request["workingDirectory"]
    for folder in request["make"]:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    if not os.path.isdir(directory):
        raise Refused("FILE_NOT_FOUND", "The working directory %s does not exist on this host, or is closed to this user." % directory)
    environment = environment_of(request)
    argv = request["argv"]
    program = find_program(argv[0], environment.get("PATH"), directory)
    files = []
    try:
        if not os.path.exists(request["launch"]):
            with open(request["exit"], "ab", opener=private) as file:
                file.write(EXIT_ROOM)
            lasting(request["exit"])
        files = [open(request[name], "ab", opener=private) for name in ("stdout", "stderr")]
        if request.get("said") and not os.path.exists(request["launch"]):
            files[1].write(request["said"].encode())
            files[1].flush()
        child = subprocess.Popen(["/bin/sh", "-c", LAUNCHER, "sh", request["launch"], request["exit"], program] + argv[1:],
                                 cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=files[0], stderr=files[1], start_new_session=True)
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise Refused("INTERNAL", "The program's arguments and environment are larger than this system allows. Pass the long ones in a file.")
        raise
    finally:
        for file in files:
            file.close()
    over = threading.Event()
    threading.Thread(target=lambda: (child.wait(), over.set()), daemon=True).start()
    until = time.monotonic() + 10
    while launch_of(request["launch"]) is None and not over.wait(0.002) and time.monotonic() < until:
        pass
    if os.path.exists(request["launch"]):
        lasting(request["launch"])
    return {"pid": child.pid, "launch": launch_of(request["launch"])}


def state(request):
    """program: who is asked about; without, the launcher that the launch file names."""
    owner = read_text(os.path.join(request["root"], "attempt"))
    if owner is None or owner.strip() != request["owner"]:
        return {"begun": False, "launch": None, "status": None, "alive": False, "speechless": False}
    size = (stat(request["launch"]) or {"size": None})["size"]
    who, ended = launch_of(request["launch"]), read_text(request["exit"])
    status = None
    if ended is not None and ended.startswith('{"status":'):
        status = int(ended[len('{"status":'):ended.index("}")])
    asked = request.get("program") or who
    same = request.get("program") is not None or (who is not None and who["boot"] == BOOT)
    return {"begun": size is not None, "launch": who, "status": status, "alive": asked is not None and same and alive(asked), "speechless": size == 0}


# -- questions --

questions = {}
given_up = set()
questions_lock = threading.Lock()  # a program that has begun is in the table before anybody looks for it there


def end_question(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass


def leave():
    questions_lock.acquire(timeout=5)  # a program on a file system that hangs may keep it for ever
    for child in list(questions.values()):
        end_question(child)  # A3
    os._exit(0)


def ask(request):
    environment = environment_of(request)
    prefix, argv = request["prefix"], request["argv"]
    try:
        program = find_program(argv[0], environment.get("PATH"), "/")
        words = [find_program(word, environment.get("PATH"), "/") for word in prefix[:1]] + prefix[1:]
    except Refused as error:
        if not prefix or error.code != "COMMAND_NOT_FOUND":
            return {"kind": "absent", "why": str(error)}
        program, words = argv[0], prefix  # it may exist where the prefix leads to
    try:
        with questions_lock:
            if request["key"] in given_up:
                given_up.discard(request["key"])
                return {"kind": "silent", "why": "the question was given up"}
            child = subprocess.Popen(words + [program] + argv[1:], cwd="/", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
            questions[request["key"]] = child
    except OSError as error:
        return {"kind": "absent" if error.errno == errno.ENOENT else "failed", "why": str(error)}
    try:
        out, err = child.communicate(request["input"].encode(), timeout=request["timeoutMs"] / 1000.0)
    except subprocess.TimeoutExpired:
        end_question(child)
        child.communicate()
        return {"kind": "silent", "why": "it did not answer within %g s" % (request["timeoutMs"] / 1000.0)}
    finally:
        with questions_lock:
            questions.pop(request["key"], None)
    status = child.returncode if child.returncode >= 0 else 128 - child.returncode
    return {"kind": "answered", "program": program, "status": status, "stdout": out[:8388608].decode("utf-8", "replace"), "stderr": err[-262144:].decode("utf-8", "replace")}


def unask(request):
    with questions_lock:
        child = questions.get(request["key"])
        if child is None:
            given_up.add(request["key"])  # it has not begun yet, or has ended
        else:
            end_question(child)
    return {}


# -- what attempts left --

def below(root, path):
    return path.startswith(root.rstrip("/") + "/")


def size_of(path, limit=200000):
    total, left = 0, limit
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    for folder, folders, names in os.walk(path):
        for name in names + [each for each in folders if os.path.islink(os.path.join(folder, each))]:
            left -= 1
            if left < 0:
                return None
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total


def artifact(request):
    if "\0" in request["path"]:
        return {"path": None, "size": None}
    real = os.path.realpath(os.path.join(request["base"], request["path"]))
    if not below(os.path.realpath(request["root"]), real) or not os.path.lexists(real):
        return {"path": None, "size": None}
    try:
        return {"path": real, "size": size_of(real)}
    except OSError:
        return {"path": real, "size": None}


def erase(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        if os.path.lexists(path):
            raise Refused("PERMISSION_DENIED", "%s could not be removed completely." % path)
    else:
        os.unlink(path)


def delete(request):
    """A4"""
    path, root = request["path"], os.path.realpath(request["root"])
    if "\0" in path or not path.startswith("/"):
        raise Refused("INTERNAL", "%s is no absolute path." % json.dumps(path))
    outside = Refused("PERMISSION_DENIED", "%s lies outside this agent's attempt directories; nothing was deleted." % path)
    real = os.path.realpath(path)
    if not below(root, real) or len(real[len(root) + 1:].split("/")) < request["depth"]:
        raise outside
    folder = os.path.dirname(real)
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if re.match(r"^\.deleted-[0-9a-f]{12}$", name):  # of a deletion that was cut off
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    if not os.path.lexists(real):
        return {"freed": 0}
    freed = size_of(real) or 0
    doomed = os.path.join(folder, ".deleted-%s" % os.urandom(6).hex())
    os.rename(real, doomed)
    erase(doomed)
    while below(root, folder) and not os.listdir(folder) and request["depth"] == 3:
        os.rmdir(folder)
        folder = os.path.dirname(folder)
    return {"freed": freed}


def disk(request):
    path = request["path"]
    while not os.path.exists(path) and path != "/":
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return {"free": found.f_bavail * found.f_frsize}


ATTEMPTS = {"start": start, "state": state, "ask": ask, "unask": unask, "artifact": artifact, "delete": delete, "disk": disk}
ATTEMPTS_ASIDE = ("start", "ask", "artifact", "delete", "disk")
`;
