// Small programs of ours for an SSH host that need nothing but its Python. Each may be repeated: a lost connection repeats it.

/** Arguments: path. Writes standard input there; the name is taken by a whole file. */
export const WRITE_TEXT = `
import os, sys
path = sys.argv[1]
os.makedirs(os.path.dirname(path), 0o770, exist_ok=True)
aside = "%s.%d.new" % (path, os.getpid())
with open(aside, "wb") as file:
    file.write(sys.stdin.buffer.read())
    file.flush()
    os.fsync(file.fileno())
os.rename(aside, path)
`;

/** Arguments: first and last port of a range, and where to begin. Says the first that nobody listens at, or null. */
export const FREE_PORT = `
import json, socket, sys
first, last, start = map(int, sys.argv[1:])
def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError:
            return False
        return True
print(json.dumps(next((port for port in list(range(start, last + 1)) + list(range(first, start)) if is_free(port)), None)))
`;
