// The part of the deploy program (deploy-program.ts) that puts a release on a host, makes it the current one, and takes that back. Y1, Y4 are kept here.

export const INSTALL_PART = String.raw`# -- installing --

def whole(place, request):
    manifest = text_of(os.path.join(place, "manifest"))
    if manifest is None or hashlib.sha256(manifest.encode()).hexdigest() != request["packageHash"]:
        return False
    try:
        for line in manifest.splitlines():
            found, mode, path = line.split(" ", 2)
            if hash_of(os.path.join(place, path)) != found:
                return False
        node = os.path.join(place, "node")
        if "path" in request["node"]:
            return os.readlink(node) == request["node"]["path"]
        return hash_of(node) == request["node"]["sha256"]
    except (OSError, ValueError):
        return False


def unpack(archive, place):
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if not member.isfile() or member.name.startswith("/") or ".." in member.name.split("/"):
                raise Refused("DAMAGED", "the archive holds %s, which belongs in no release" % json.dumps(member.name))
            path = os.path.join(place, member.name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with tar.extractfile(member) as source, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700 if member.mode & 0o100 else 0o600), "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def place_node(wanted, place):
    if "path" in wanted:
        os.symlink(wanted["path"], place)
        return
    for other in glob.glob(os.path.join(glob.escape(RELEASES), "*", "node")):
        if os.path.isfile(other) and not os.path.islink(other) and hash_of(other) == wanted["sha256"]:
            os.link(other, place)
            return
    with gzip.open(wanted["archive"], "rb") as source, os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def prove(place):
    node = os.path.join(place, "node")
    status, said = run([node, "--version"], 30)
    if status != 0:
        raise Refused("NODE_UNFIT", (said.split("\n") or [""])[-1][:500])
    status, said = run([node, os.path.join(place, PROGRAM), "--check"], 60)
    if status != 0:
        raise Refused("PACKAGE_UNFIT", said[-1000:])


def has_node(request):
    return {"there": any(os.path.isfile(path) and not os.path.islink(path) and hash_of(path) == request["sha256"] for path in glob.glob(os.path.join(glob.escape(RELEASES), "*", "node")))}


def installed(request):
    return {"whole": whole(os.path.join(RELEASES, request["release"]), request)}


def install(request):
    place = os.path.join(RELEASES, request["release"])
    if whole(place, request):
        return {}
    os.makedirs(RELEASES, mode=0o700, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(RELEASES), ".new-*")):
        drop(left)
    aside = os.path.join(RELEASES, ".new-%d" % os.getpid())
    try:
        os.mkdir(aside, 0o700)
        unpack(request["archive"], aside)
        place_node(request["node"], os.path.join(aside, "node"))
        if not whole(aside, request):  # Y1
            raise Refused("DAMAGED", "what was unpacked is not what was sent")
        prove(aside)
        for folder, _, files in os.walk(aside):
            for name in files:
                handle = os.open(os.path.join(folder, name), os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        drop(place)
        os.rename(aside, place)
    finally:
        drop(aside)
    return {}


def activate(request):
    for name in ("state", "run", "logs"):
        os.makedirs(at(name), mode=0o700, exist_ok=True)
    before, config, wanted = current(), text_of(at("config.json")), [request["release"], request["config"]]
    begun = (json_of(at("previous.json")) or {}).get("next") == wanted  # Y4: broken off between the two
    if before is not None and config is not None and [before, config] != wanted and not begun:
        write(at("previous.json"), json.dumps({"release": before, "config": config, "next": wanted}))
    put(request)
    return {}


def put(request):
    write(at("config.json"), request["config"])
    if request.get("token"):
        write(at("token"), request["token"] + "\n")
    if request.get("ca"):
        write(at("ca.pem"), request["ca"])
    link = at(".current-%d" % os.getpid())
    drop(link)
    os.symlink(os.path.join("releases", request["release"]), link)
    os.rename(link, at("current"))


def revert(request):
    """Back to the release and the configuration before; null when there is none: then what was put in place is nobody's past either."""
    before = json_of(at("previous.json"))
    if before is None or not os.path.isdir(os.path.join(RELEASES, before["release"])):
        drop(at("current"))
        return {"release": None}
    put(before)
    return {"release": before["release"]}


`;
