"""Waits until a Ray cluster has so many GPUs on so many nodes.

Arguments: address, GPUs, nodes, patience in seconds. Exit code 0 when it has; otherwise 1 and one line "cluster refused: ..." on standard error.
"""

import sys
import time

import ray


def living(address: str) -> "list | None":
    try:
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        return [node for node in ray.nodes() if node["Alive"]]
    except Exception as error:  # the head is still coming up
        print(f"waiting for the cluster at {address}: {error}", file=sys.stderr, flush=True)
        return None


def main() -> int:
    address, gpus, nodes, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    until = time.monotonic() + patience
    told = None
    while True:
        found = living(address)
        if found is not None:
            there = (int(sum(node["Resources"].get("GPU", 0) for node in found)), len(found))
            if there[0] >= gpus and there[1] >= nodes:
                return 0
            if there != told:
                told = there
                print(f"the cluster has {there[0]} of {gpus} GPUs on {there[1]} of {nodes} nodes", file=sys.stderr, flush=True)
        if time.monotonic() > until:
            there = told or (0, 0)
            print(f"cluster refused: after {patience:.0f} s the cluster at {address} has {there[0]} of {gpus} GPUs on {there[1]} of {nodes} nodes", file=sys.stderr, flush=True)
            return 1
        time.sleep(1)


sys.exit(main())
