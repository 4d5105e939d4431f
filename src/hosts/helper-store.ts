// The part of the helper program (helper-program.ts) that looks after files which are brought: claims on what is being written, digests, putting in place, sweeping.
// file-sync.ts asks for it; the bytes themselves pass through SFTP.
//   S1. A file that is being written is claimed with a lock of the operating system, which ends with the helper: of two writers one waits, and a dead one holds nothing.
//   S2. A file comes under its name by a rename, after fsync, read-only and with STAMP as its time: what has another time or size was touched since and is looked at again.
//   S3. A digest goes on from where the last one of its key ended, so that a file is hashed while it arrives; each question is bounded, so that answers show life.
//   S4. Nothing but what a store itself made is ever swept: names of 64 hexadecimal digits, and those with .partial behind.
//   S5. Who uses what is noted beside the store, one file for each attempt, for every agent of this directory to see. Swept is what no note names; a note counts while its agent
//       says that it holds the attempt, while a process of the attempt lives here, and for as long again as content is kept. Content loses its name under a lock that
//       whoever asks for content shares: what an answer named is there, and young.

/** Modification time that says: as it arrived and was verified. In seconds since 1970. */
const STAMP = 1_000_000_000;

/** Python 3.6, standard library; uses `regular`, `private`, `read_text`, `Refused` and DIRECTORY of the helper. */
export const HELPER_STORE = String.raw`
STAMP = ${STAMP}
claims = {}
digests = {}
USES = os.path.join(DIRECTORY, "uses")


def locked(kind):
    """S5; closing the handle gives it back."""
    os.makedirs(USES, mode=0o700, exist_ok=True)
    handle = os.open(os.path.join(USES, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, kind)
    return handle


def claim(path):
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if path in claims:
        return {"claimed": False}
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # S1
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise Refused("BUSY", "somebody else writes %s" % path)
        found = os.fstat(handle)
        if not os.path.exists(path) or os.lstat(path).st_ino != found.st_ino:
            raise Refused("BUSY", "%s was put in place meanwhile" % path)
    except Refused:
        os.close(handle)
        return {"claimed": False}
    claims[path] = handle
    room = os.statvfs(path)
    return {"claimed": True, "size": found.st_size, "free": room.f_bavail * room.f_frsize}


def unclaim(path, drop):
    handle = claims.pop(path, None)
    if handle is not None:
        try:
            if drop:
                os.unlink(path)
        finally:
            os.close(handle)
    return {}


def discard(folder):
    if os.path.isdir(folder) and not os.path.islink(folder):
        shutil.rmtree(folder)
    return {}


def probe(path):
    """Writes what SFTP could not: its answers name no cause."""
    handle = claims[path]
    os.lseek(handle, 0, os.SEEK_END)
    for _ in range(16):
        os.write(handle, b"\0" * 65536)
    os.fsync(handle)
    return {}


def keep(path, into, size):
    handle = claims.pop(path)
    shared = locked(fcntl.LOCK_SH)
    try:
        os.ftruncate(handle, size)
        os.fsync(handle)  # S2
        os.fchmod(handle, 0o400)
        os.utime(path, (time.time(), STAMP))
        os.makedirs(os.path.dirname(into), mode=0o700, exist_ok=True)
        os.rename(path, into)
        sync_folder(os.path.dirname(into))
    except OSError:
        if os.path.lexists(path):
            os.unlink(path)  # what cannot be synced is not trusted
        raise
    finally:
        os.close(shared)
        os.close(handle)
    return {}


def sync_folder(path):
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:
        pass  # some file systems cannot
    finally:
        os.close(folder)


def held(folder, name, size):
    shared = locked(fcntl.LOCK_SH)
    try:
        return held_now(folder, name, size)
    finally:
        os.close(shared)


def held_now(folder, name, size):
    for other in [name] + (sorted(os.listdir(folder)) if os.path.isdir(folder) else []):
        path = os.path.join(folder, other)
        if not os.path.exists(path):
            continue
        found = os.lstat(path)
        if (found.st_mode & 0o170000) != 0o100000 or found.st_size != size:
            continue
        if other != name:
            try:
                os.link(path, os.path.join(folder, name))
            except OSError:
                continue  # a file system without hard links: it is sent again
        os.utime(folder)
        return {"path": os.path.join(folder, name), "whole": found.st_mtime == STAMP}
    return {"path": None, "whole": False}


def digest(request):
    states = digests.get(request["key"], {})
    at, step, end = request["from"], request["step"], request["to"]
    state = states[at].copy() if at else hashlib.sha256()
    handle = regular(request["path"])
    said = []
    try:
        os.lseek(handle, at, os.SEEK_SET)
        while at < end:
            data = os.read(handle, min(1 << 20, end - at, step - at % step))
            if not data:
                break
            state.update(data)
            at += len(data)
            if at % step == 0 or at == end:
                said.append(state.hexdigest())
    finally:
        os.close(handle)
    if request["last"]:
        digests.pop(request["key"], None)
    else:
        digests[request["key"]] = {request["from"]: states.get(request["from"]), at: state}  # S3
    return {"to": at, "digests": said, "whole": state.hexdigest()}


def use(folder, user, hashes):
    """S5"""
    if not re.match(r"^att_[0-9A-Za-z]+$", user) or not all(re.match(r"^[0-9a-f]{64}$", name) for name in hashes):
        raise Refused("INTERNAL", "this is no use: %s of %s" % (json.dumps(hashes), json.dumps(user)))
    shared = locked(fcntl.LOCK_SH)
    try:
        missing = [name for name in hashes if not os.path.isdir(os.path.join(folder, name))]
        with open(os.path.join(USES, user), "ab", opener=private) as file:
            file.write("".join(name + "\n" for name in hashes if name not in missing).encode())
        os.utime(os.path.join(USES, user))
        for name in hashes:
            if name not in missing:
                os.utime(os.path.join(folder, name))
        return {"missing": missing}
    finally:
        os.close(shared)


def living_users():
    found = set()
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/%s/environ" % pid, "rb") as file:
                found.update(text[21:].decode("utf-8", "replace") for text in file.read().split(b"\0") if text.startswith(b"TRAINYARD_ATTEMPT_ID="))
        except OSError:
            pass
    return found


def is_old(path, age):
    return time.time() - os.lstat(path).st_mtime >= age


def sweep(folder, age, held_by):
    living = living_users() | set(held_by)  # before the lock: whoever begins later has a young note
    needed, doomed, removed = set(), [], []
    alone = locked(fcntl.LOCK_EX)
    try:
        for user in os.listdir(USES):
            note = os.path.join(USES, user)
            if not re.match(r"^att_[0-9A-Za-z]+$", user):
                continue
            if user in living:
                os.utime(note)
            elif is_old(note, age):
                os.unlink(note)
                continue
            needed.update((read_text(note) or "").split())
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if re.match(r"^\.swept-[0-9a-f]{12}$", name):  # of a sweep that was cut off
                doomed.append(path)
            elif re.match(r"^[0-9a-f]{64}(\.partial)?$", name) and name[:64] not in needed and path not in claims and is_old(path, age) and is_free(path):  # S4
                aside = os.path.join(folder, ".swept-%s" % os.urandom(6).hex())
                os.rename(path, aside)
                doomed.append(aside)
                removed.append(name)
    finally:
        os.close(alone)
    for path in doomed:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    return {"removed": removed}


def is_free(path):
    """Whether nobody writes it (S1)."""
    if not path.endswith(".partial"):
        return True
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


STORE = {
    "claim": lambda asked: claim(asked["path"]),
    "unclaim": lambda asked: unclaim(asked["path"], asked["drop"]),
    "discard": lambda asked: discard(asked["folder"]),
    "probe": lambda asked: probe(asked["path"]),
    "keep": lambda asked: keep(asked["path"], asked["into"], asked["size"]),
    "held": lambda asked: held(asked["folder"], asked["name"], asked["size"]),
    "digest": digest,
    "use": lambda asked: use(asked["folder"], asked["user"], asked["hashes"]),
    "sweep": lambda asked: sweep(asked["folder"], asked["age"], asked["heldBy"]),
}
`;
