// The part of the helper program (helper-program.ts) that looks after files which are brought: claims on what is being written, digests, putting in place, sweeping.
// file-sync.ts asks for it; the bytes themselves pass through SFTP.
//   S1. A file that is being written is claimed with a lock of the operating system, which ends with the helper: of two writers one waits, and a dead one holds nothing.
//   S2. A file comes under its name by a rename, after fsync, read-only and with STAMP as its time: what has another time or size was touched since and is looked at again.
//   S3. A digest goes on from where the last one of its key ended, so that a file is hashed while it arrives; each question is bounded, so that answers show life.
//   S4. Nothing but what a store itself made is ever swept: names of 64 hexadecimal digits, and those with .partial behind.

/** Modification time that says: as it arrived and was verified. In seconds since 1970. */
const STAMP = 1_000_000_000;

/** Python 3.6, standard library; uses `regular` and `Refused` of the helper. */
export const HELPER_STORE = String.raw`
STAMP = ${STAMP}
claims = {}
digests = {}


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


def sweep(folder, age, keep_names):
    removed = []
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if not re.match(r"^[0-9a-f]{64}(\.partial)?$", name) or name[:64] in keep_names or path in claims:  # S4
            continue
        try:
            if time.time() - os.lstat(path).st_mtime < age:
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
            removed.append(name)
        except OSError:
            continue
    return {"removed": removed}


STORE = {
    "claim": lambda asked: claim(asked["path"]),
    "unclaim": lambda asked: unclaim(asked["path"], asked["drop"]),
    "discard": lambda asked: discard(asked["folder"]),
    "probe": lambda asked: probe(asked["path"]),
    "keep": lambda asked: keep(asked["path"], asked["into"], asked["size"]),
    "held": lambda asked: held(asked["folder"], asked["name"], asked["size"]),
    "digest": digest,
    "sweep": lambda asked: sweep(asked["folder"], asked["age"], asked["keep"]),
}
`;
