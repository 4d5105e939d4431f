// The part of the deploy program (deploy-program.ts) that starts, stops and looks at the agent of the current release: as a systemd user unit, or under our supervisor.

export const RUN_PART = String.raw`# -- running --

def unit_text(name):
    return """[Unit]
Description=Trainyard agent %s
StartLimitIntervalSec=0

[Service]
Type=simple
ExecStart=%s %s %s
WorkingDirectory=%s
UMask=0077
# Programs of attempts go on when the agent stops; the next one adopts them.
KillMode=process
TimeoutStopSec=900
Restart=always
RestartSec=2

[Install]
WantedBy=default.target
""" % (name, at("current", "node"), at("current", PROGRAM), AGENT, STATE)


def linger(request):
    if not lingers():
        run(["loginctl", "enable-linger"], 10, BUS)
    return {"linger": lingers()}


def systemctl(*words):
    status, said = run(["systemctl", "--user"] + list(words), 60, BUS)
    if status != 0:
        raise Refused("SYSTEMD", "systemctl --user %s: %s" % (" ".join(words), said[-500:]))


def start(request):
    if ours():
        return {}  # Y4
    drop(at("stop"))
    drop(at("run", "supervisor.json"))
    drop(at("run", "agent.json"))
    if request["supervision"] == "SYSTEMD":
        os.makedirs(UNITS, exist_ok=True)
        write(os.path.join(UNITS, request["unit"]), unit_text(request["name"]), 0o644)
        systemctl("daemon-reload")
        systemctl("enable", request["unit"])
        systemctl("restart", request["unit"])
        return {}
    forget_unit(request["unit"])
    write(at("supervisor.py"), SUPERVISOR)
    kept = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR") if name in os.environ}
    with open(at("logs", "supervisor.log"), "ab") as log:
        subprocess.Popen([sys.executable, at("supervisor.py")], cwd=STATE, env=kept, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    return {}


def stop(request):
    """Ends the agent and who keeps it running. mode: detach, drain or now."""
    if request["mode"] != "detach" and os.path.isdir(AGENT):
        write(at("stop"), request["mode"])
    told, until = {}, time.monotonic() + request["patienceMs"] / 1000.0
    if os.path.exists(os.path.join(UNITS, request["unit"])):
        run(["systemctl", "--user", "stop", "--no-block", request["unit"]], 60, BUS)
    while True:
        left = ours()
        if not left and not unit_is_stopping(request["unit"]):
            break
        late = time.monotonic() > until
        for row in sorted(left, key=lambda row: row["kind"] != "supervisor"):
            if row["kind"] == "agent" and not late and any(other["kind"] == "supervisor" for other in left):
                continue  # the supervisor passes it on: nothing is started again in between
            if late:
                send_signal(row, signal.SIGKILL)
            elif (row["pid"], row["startedAt"]) not in told:
                told[(row["pid"], row["startedAt"])] = True
                send_signal(row, signal.SIGTERM)
        time.sleep(0.1)
        if time.monotonic() > until + 30:
            raise Refused("STILL_RUNNING", "the agent (pid %s) does not end" % ", ".join(str(row["pid"]) for row in left))
    drop(at("stop"))
    return {}


def unit_is_stopping(unit):
    return os.path.exists(os.path.join(UNITS, unit)) and run(["systemctl", "--user", "is-active", unit], 10, BUS)[1] in ("active", "deactivating", "activating")


def forget_unit(unit):
    if os.path.exists(os.path.join(UNITS, unit)):
        run(["systemctl", "--user", "disable", unit], 60, BUS)
        drop(os.path.join(UNITS, unit))
        run(["systemctl", "--user", "daemon-reload"], 60, BUS)


def state(request):
    return running(request["unit"])


def log(request):
    lines = []
    for path in (at("logs", "agent.log"), at("logs", "agent.out"), at("logs", "supervisor.log")):
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 16384))
                lines += file.read().decode("utf-8", "replace").splitlines()[-request["lines"]:]
        except OSError:
            pass
    if os.path.exists(os.path.join(UNITS, request["unit"])):
        lines += run(["journalctl", "--user", "-u", request["unit"], "-n", str(request["lines"]), "-o", "cat", "--no-pager"], 20, BUS)[1].splitlines()
    return {"lines": [line[:2000] for line in lines]}


def used():
    names = set()
    for pid in my_pids():
        for word in arguments(pid):
            if word.startswith(RELEASES + "/"):
                names.add(word[len(RELEASES) + 1:].split("/")[0])
    return names


def tidy(request):
    """Old releases go, except the last one and what a program still runs from; so does what was sent."""
    before = json_of(at("previous.json")) or {}
    keep = {current(), before.get("release")} | used()
    for name in os.listdir(RELEASES) if os.path.isdir(RELEASES) else []:
        if name not in keep:
            drop(os.path.join(RELEASES, name))
    for sent in request["sent"]:
        drop(os.path.join(DIRECTORY, "store", sent))
    return {}


`;
