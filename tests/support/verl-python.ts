// A Python with verl, as a host has one: a program that answers what Python answers, starts the stand-in (src/simulation) where verl would train, export or merge, and ray-stand-in.py where Ray would run.
// Whatever else it is asked goes to the real python3.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packagePath } from "../../src/package-root.js";
import { simulatedPython } from "../../src/simulation/stand-in.js";

const INSTALLED = { python: "3.11.9", cudaRuntime: null, torch: "2.9.0", verl: "0.7.1", vllm: "0.12.0", sglang: null, trl: null, ray: "2.58.0", peft: "0.17.0", transformers: "4.57.6" };

/** Writes it into the folder; answers its path. */
export function verlPython(folder: string): string {
  const path = join(folder, "python3");
  const standIn = simulatedPython("0.7.1").map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  writeFileSync(path, `#!/bin/sh
case "$1" in
  -c) case "$2" in *"importlib import metadata"*) echo '${JSON.stringify(INSTALLED)}'; exit 0 ;; esac
      exec python3 "$@" ;;
  */compose_config.py|*/check_reward.py) cat > /dev/null; [ -r "$1" ] && echo '{"problem": null}'; exit 0 ;;
  */ray_member.py) exec python3 "$@" ;;
  */await_cluster.py) exec python3 '${packagePath("tests", "support", "ray-stand-in.py")}' "$@" ;;
  */export_model.py)
      [ -r "$1" ] || exit 3
      shift
      while [ $# -gt 0 ]; do case "$1" in --source) source=$2 ;; --target) target=$2 ;; --backend) backend=$2 ;; esac; shift 2; done
      exec ${standIn} -m verl.model_merger merge --backend "$backend" --local_dir "$source" --target_dir "$target" ;;
  *) case "$2" in ray.scripts.scripts) exec python3 '${packagePath("tests", "support", "ray-stand-in.py")}' "$@" ;; esac
      exec ${standIn} "$@" ;;
esac
`, { mode: 0o755 });
  return path;
}
