import { expect, test } from "vitest";
import { diagnose, type DiagnosisFacts } from "../../src/domain/diagnosis.js";
import { FAILURE_SIGNATURES } from "../../src/domain/failure-signatures.js";
import type { FailureCode } from "../../src/domain/pipeline/spec.js";

const failure = (code: FailureCode = "EXIT_NONZERO", exitCode: number | null = 1, logTail: string[] = []) => ({ code, message: `The program ended with exit code ${exitCode}.`, hint: null, exitCode, logTail });
const facts = (logTail: string[], rest: Partial<DiagnosisFacts> = {}): DiagnosisFacts => ({ status: "FAILED", failure: failure(), logTail, metricsTail: {}, ...rest });

test.each([
  ["GPU_OUT_OF_MEMORY", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB"],
  ["KV_CACHE_TOO_SMALL", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"],
  ["SHARED_MEMORY_TOO_SMALL", "RuntimeError: DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. insufficient shared memory (shm)"],
  ["HOST_OUT_OF_MEMORY", "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."],
  ["DISK_FULL", "OSError: [Errno 28] No space left on device: '/out/model.safetensors'"],
  ["GPU_HARDWARE_ERROR", "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"],
  ["CUDA_DRIVER_MISMATCH", "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."],
  ["TOO_FEW_GPUS", "ValueError: Total available GPUs 4.0 is less than total desired GPUs 8"],
  ["NO_GPU_VISIBLE", "RuntimeError: No CUDA GPUs are available"],
  ["NO_GPU_VISIBLE", "RuntimeError: Distributed package doesn't have NCCL built in"],
  ["FLASH_ATTENTION_MISSING", "ImportError: FlashAttention2 has been toggled on, but it cannot be used due to the following error: the package flash_attn seems to be not installed."],
  ["MODULE_NOT_FOUND", "ModuleNotFoundError: No module named 'verl'"],
  ["NATIVE_LIBRARY_MISSING", "ImportError: flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2E"],
  ["CHAT_TEMPLATE", "ValueError: Cannot use chat template functions because tokenizer.chat_template is not set"],
  ["TOKENIZER", "OSError: Can't load tokenizer for '/models/x'."],
  ["MODEL_ACCESS", "huggingface_hub.errors.GatedRepoError: 401 Client Error."],
  ["CHECKPOINT_MISMATCH", "RuntimeError: Error(s) in loading state_dict for Qwen2ForCausalLM: size mismatch for lm_head.weight: copying a param"],
  ["CONFIGURATION", "Could not override 'actor_rollout_ref.rollout.foo'."],
  ["NO_SCORER", "NotImplementedError: Reward function is not implemented for data_source='acme/puzzles'"],
  ["TOO_FEW_ROWS", "AssertionError: Train dataloader is empty!"],
  ["DATA_FORMAT", "KeyError: 'prompt'"],
  ["SEQUENCE_TOO_LONG", "AssertionError: prompt length 5121 is longer than 4096"],
  ["SHAPE_OR_DIVISIBILITY", "AssertionError: train_batch_size must be divisible by n_gpus"],
  ["PORT_IN_USE", "The server socket has failed to listen on any local network address. port: 29500, EADDRINUSE: Address already in use"],
  ["PERMISSION_DENIED", "PermissionError: [Errno 13] Permission denied: '/data'"],
  ["COMMAND_NOT_FOUND", "sh: 1: torchrun: not found"],
  ["FILE_NOT_FOUND", "FileNotFoundError: [Errno 2] No such file or directory: 'train.jsonl'"],
  ["NCCL_FAILURE", "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5)"],
  ["RAY_TOO_FEW_CPUS", "(autoscaler +29s) Error: No available node types can fulfill resource request {'GPU': 1.0, 'CPU': 3.0}. Add suitable node types to this cluster"],
  ["RAY_ACTOR_DIED", "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task."],
  ["TLS_OR_PROXY", "requests.exceptions.SSLError: certificate verify failed: self-signed certificate"],
  ["CONNECTION_REFUSED", "Error: connect ECONNREFUSED 127.0.0.1:8000"],
  ["NETWORK", "socket.gaierror: [Errno -3] Temporary failure in name resolution"],
  ["SEGMENTATION_FAULT", "Fatal Python error: Segmentation fault"],
])("%s is known by its line", (cause, line) => {
  expect(diagnose(facts(["Traceback (most recent call last):", line, "  at the end"]))).toMatchObject({ cause, evidence: [line] });
});

test("every signature has a test case's worth of care: a cause of its own and advice in whole sentences", () => {
  expect(new Set(FAILURE_SIGNATURES.map(({ cause }) => cause)).size).toBe(FAILURE_SIGNATURES.length);
  for (const { suggestion, lines } of FAILURE_SIGNATURES) {
    expect(suggestion).toMatch(/^[A-Z/].*\.$/);
    for (const pattern of lines) expect(pattern.flags).not.toContain("g"); // such a pattern remembers where it was
  }
});

test("a rank that ran out of memory is the cause, its peers' NCCL errors are not", () => {
  const lines = ["[rank1] torch.distributed.DistBackendError: NCCL error: remote process exited", "[rank0] torch.OutOfMemoryError: CUDA out of memory."];
  expect(diagnose(facts(lines))).toMatchObject({ cause: "GPU_OUT_OF_MEMORY", evidence: [lines[1]] });
});

test("the agent's classification counts where the log is silent, and its own tail where the log is gone", () => {
  expect(diagnose(facts([], { failure: failure("DISK_FULL") }))).toMatchObject({ cause: "DISK_FULL", evidence: ["The program ended with exit code 1."] });
  expect(diagnose(facts([], { failure: failure("EXIT_NONZERO", 1, ["ModuleNotFoundError: No module named 'trl'"]) }))).toMatchObject({ cause: "MODULE_NOT_FOUND" });
});

test("a loss that is no number is the cause only where nothing else explains the end", () => {
  const metricsTail = { "actor/grad_norm": { step: 7, value: Infinity }, lr: { step: 7, value: NaN }, "train/loss": { step: 7, value: NaN } };
  expect(diagnose(facts(["loss is nan, stopping"], { metricsTail }))).toMatchObject({ cause: "LOSS_NOT_FINITE", evidence: ["actor/grad_norm = Infinity at step 7", "train/loss = NaN at step 7", "lr = NaN at step 7"] });
  expect(diagnose(facts(["CUDA out of memory"], { metricsTail }))).toMatchObject({ cause: "GPU_OUT_OF_MEMORY" });
});

test("a lost attempt is said to be lost, whatever its log looks like", () => {
  expect(diagnose(facts(["CUDA out of memory"], { status: "LOST", failure: null }))).toMatchObject({ cause: "AGENT_LOST" });
});

test.each<[FailureCode, number | null, string]>([
  ["KILLED_BY_SIGNAL", null, "KILLED"], ["EXIT_NONZERO", 137, "KILLED"], ["PROCESS_VANISHED", null, "KILLED"], ["TIMEOUT", null, "TIMEOUT"], ["NO_PROGRESS", null, "NO_PROGRESS"], ["HOST_REBOOTED", null, "HOST_REBOOTED"], ["EXIT_NONZERO", 3, "UNKNOWN"],
])("an end of %s with exit code %s is %s", (code, exitCode, cause) => {
  expect(diagnose(facts(["step 1", "step 2"], { failure: failure(code, exitCode) }))).toMatchObject({ cause });
});

test("without a known sign the lines that speak of errors are shown, short and without colours", () => {
  const { cause, evidence } = diagnose(facts(["fine", "\x1b[31mError:\x1b[0m the flux is too low", "bye", "x".repeat(1_000) + " fatal"]));
  expect(cause).toBe("UNKNOWN");
  expect(evidence).toEqual(["Error: the flux is too low", expect.stringMatching(/^x{299}…$/)]);
  expect(diagnose({ status: "FAILED", failure: null, logTail: [], metricsTail: {} })).toMatchObject({ cause: "UNKNOWN", evidence: [] });
});
