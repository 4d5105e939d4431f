#!/bin/sh
# The program of chaos stages: does known work and tells a journal of its own, beside everything the product writes, what it did and when.
# $1 steps, $2 pause after each (seconds), $3 attempts that fail before one succeeds; WITNESS_JOURNAL: the file, one line per deed:
#   <deed> <pipeline> <stage> <attempt> <pid> <seconds on the host's clock since boot>
steps=$1 pause=$2 failing=$3
say() {
  { read -r up _ < /proc/uptime; } 2>/dev/null || up=$(date +%s)
  echo "$1 $TRAINYARD_PIPELINE_ID $TRAINYARD_STAGE $TRAINYARD_ATTEMPT $$ $up" >> "$WITNESS_JOURNAL"
}
trap 'say stopped; exit 143' TERM
say start
step=1
while [ "$step" -le "$steps" ]; do
  echo "step $step of $steps in attempt $TRAINYARD_ATTEMPT of $TRAINYARD_STAGE: écoute, 学ぶ"
  echo "{\"step\":$step,\"data\":{\"loss\":$((steps - step)).5,\"rate\":0.001}}" >> "$TRAINYARD_METRICS_FILE"
  say step
  [ "$pause" = 0 ] || sleep "$pause"
  step=$((step + 1))
done
if [ "$TRAINYARD_ATTEMPT" -le "$failing" ]; then say failed; exit 3; fi
echo "{\"attempt\":$TRAINYARD_ATTEMPT}" > "$TRAINYARD_OUTPUTS_FILE"
say end
