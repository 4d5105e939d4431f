#!/bin/sh
# Makes the token of the agent in docker-compose.yml, once: the file is kept in a volume that only this script and the agent see.
set -eu
umask 077
file=${1:?usage: agent-token.sh FILE}
if [ -s "$file" ]; then
  echo "the agent's token is there"
  exit 0
fi
trainyard token create --role agent --name compose-agent --local --json >"$file.json"
node -e 'const { readFileSync, writeFileSync } = require("node:fs"); writeFileSync(process.argv[2], JSON.parse(readFileSync(process.argv[1], "utf8")).secret + "\n", { mode: 0o600 })' "$file.json" "$file.new"
rm -f "$file.json"
mv "$file.new" "$file"
echo "made the agent's token"
