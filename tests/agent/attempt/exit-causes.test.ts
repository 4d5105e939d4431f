// Each row with a line as programs really print it.
import { expect, test } from "vitest";
import { classifyExit, EXIT_CAUSES } from "../../../src/agent/attempt/exit-causes.js";
import { failureSchema } from "../../../src/protocol/messages.js";

test.each([
  ["INVALID_INPUT", 1, "evaluation refused: http://host/v1 has no model \"qwen\"; did you mean \"qwen3\"? It has qwen3.", /no model "qwen"/],
  ["MODULE_NOT_FOUND", 1, "evaluation lacks a module: python3 on this host has no verl, which draws the answers of a local model.", /no verl/],
  ["NETWORK", 1, "evaluation gave up: 20 rows in a row got no answer, the last one: host: connect ECONNREFUSED 127.0.0.1:8000", /20 rows in a row/],
  ["INVALID_INPUT", 1, "export refused: nothing beside /run/global_step_4 tells the alpha of the low-rank adapter", /was not exported: nothing beside/],
  ["NETWORK", 1, "cluster refused: after 300 s the cluster at 10.0.0.1:29731 has 8 of 16 GPUs on 1 of 2 nodes\n[ray] failed: the cluster did not become complete", /8 of 16 GPUs/],
  ["GPU_OUT_OF_MEMORY", 1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.06 GiB is free.", /GPU ran out/],
  ["GPU_OUT_OF_MEMORY", 1, "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.", /GPU/],
  ["OUT_OF_MEMORY", 134, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", /JavaScript heap/],
  ["OUT_OF_MEMORY", 1, "MemoryError", /memory/],
  ["OUT_OF_MEMORY", 1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB\nMemoryError: Unable to allocate", /memory/],
  ["OUT_OF_MEMORY", 137, "Killed", /SIGKILL/],
  ["OUT_OF_MEMORY", 137, "", /SIGKILL/],
  ["DISK_FULL", 1, "OSError: [Errno 28] No space left on device: '/ckpt/model.safetensors'", /disk/],
  ["DISK_FULL", 1, "Error: ENOSPC: no space left on device, write", /disk/],
  ["MODULE_NOT_FOUND", 1, "ModuleNotFoundError: No module named 'flash_attn'", /flash_attn/],
  ["MODULE_NOT_FOUND", 1, "Error: Cannot find module '/srv/train.js'", /train\.js/],
  ["MODULE_NOT_FOUND", 1, "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'zod' imported from /srv/a.mjs", /zod/],
  ["MODULE_NOT_FOUND", 1, "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory", /libcudart/],
  ["NETWORK", 1, "Error: connect ECONNREFUSED 127.0.0.1:5432", /ECONNREFUSED/],
  ["NETWORK", 1, "requests.exceptions.ConnectionError: (MaxRetryError(\"HTTPSConnectionPool(host='hub', port=443): Max retries exceeded with url: /api\"))", /network/i],
  ["NETWORK", 1, "socket.gaierror: [Errno -3] Temporary failure in name resolution", /name resolution/],
  ["PERMISSION_DENIED", 1, "PermissionError: [Errno 13] Permission denied: '/data'", /access/],
  ["PERMISSION_DENIED", 126, "sh: ./run: cannot execute", /126/],
  ["FILE_NOT_FOUND", 1, "FileNotFoundError: [Errno 2] No such file or directory: 'train.parquet'", /train\.parquet/],
  ["FILE_NOT_FOUND", 1, "Error: ENOENT: no such file or directory, open 'x.json'", /x\.json/],
  ["EXIT_NONZERO", 1, "[rank0]: huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name'\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError: ", /HFValidationError: Repo id/],
  ["EXIT_NONZERO", 1, "ray.exceptions.RayTaskError(AssertionError): ray::TaskRunner.run() (pid=4711, ip=127.0.0.1)\nAssertionError: Train dataloader is empty!", /ended with AssertionError: Train dataloader is empty!/],
  ["COMMAND_NOT_FOUND", 127, "sh: 1: torchrun: not found", /127/],
  ["KILLED_BY_SIGNAL", 139, "Segmentation fault", /SIGSEGV/],
  ["KILLED_BY_SIGNAL", 143, "", /SIGTERM/],
  ["KILLED_BY_SIGNAL", 134, "Aborted", /SIGABRT/],
  ["KILLED_BY_SIGNAL", 141, "", /SIGPIPE/],
  ["EXIT_NONZERO", 3, "something else", /exit code 3/],
])("%s: exit %i, %j", (code, status, line, message) => {
  const failure = classifyExit(status, ["step:1 - loss:0.3", ...line.split("\n"), "  at the end"]);
  expect(failure).toMatchObject({ code, exitCode: status });
  expect(failure.message).toMatch(message);
  expect(() => failureSchema.parse(failure)).not.toThrow();
});

test("every row has advice and can be reached by an exit code, a signal or text", () => {
  for (const cause of EXIT_CAUSES) {
    expect(cause.hint.length).toBeGreaterThan(20);
    expect(cause.log ?? cause.exitCodes ?? cause.signals).toBeDefined();
  }
});
