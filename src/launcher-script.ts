// The shell that stands between an agent and a program, here (src/agent/place/launcher.ts) and on SSH hosts (src/hosts/helper-program.ts): constant text, so that no command line is ever made of what
// users wrote. Both sides read what it writes with the same code.

/**
 * $1 launch file, $2 exit file, then the program (absolute) and its arguments. TERM and INT reach the whole group; the launcher takes note and goes on
 * waiting, the program has the default action. The exit file is overwritten in place, shorter than what is there: its block was there before the program could fill the disk.
 */
export const LAUNCHER = `
launch=$1; exit=$2; shift 2
trap : HUP INT QUIT TERM USR1 USR2
set -C
stat=; boot=
{ read -r stat < /proc/self/stat; read -r boot < /proc/sys/kernel/random/boot_id; } 2>/dev/null
{ printf '{"pid":%s,"stat":"%s","boot":"%s"}\\n' "$$" "\${stat##*) }" "$boot" > "$launch"; } 2>/dev/null || exit 0
set +C
"$@"
printf '{"status":%s}\\n' "$?" 1<> "$exit"
`;
