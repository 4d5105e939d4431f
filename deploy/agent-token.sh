#!/bin/sh
# Makes the token of the agent in docker-compose.yml, once: the file is kept in a volume that only this script and the agents see.
set -eu
umask 077
file=${1:?usage: agent-token.sh FILE}
if [ -s "$file" ]; then
  echo "the agent's token is there"
  exit 0
fi
trainyard token create --role agent --name compose-agent --local >"$file.new"
mv "$file.new" "$file"
