#!/bin/sh
# Starts Redis with the users of users.acl: the default one is off, `health` may only PING, `control-plane` has TRAINYARD_REDIS_PASSWORD and the keys and channels
# of the prefix ty. The control plane makes one more user for each agent, which reaches that agent's own two streams. Arguments go on to redis-server.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
run=${TRAINYARD_REDIS_RUN_DIR:-/run/trainyard}
if [ -z "${TRAINYARD_REDIS_PASSWORD:-}" ]; then
  echo "TRAINYARD_REDIS_PASSWORD is empty: set it in .env (openssl rand -hex 24)." >&2
  exit 2
fi
# Only its hash is written anywhere.
hash=$(printf %s "$TRAINYARD_REDIS_PASSWORD" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1)
sed "s/{{control-plane-password-sha256}}/$hash/" "$here/users.acl" >"$run/users.acl"
unset TRAINYARD_REDIS_PASSWORD
exec redis-server "$here/redis.conf" --aclfile "$run/users.acl" "$@"
