// Signs by which a failed attempt's cause is known, as data: the first entry that matches wins, so root causes come before what they lead to (a rank that ran out of
// memory also makes its peers report NCCL errors) and specific ones before general ones. A new sign is a new line here and a test case in tests/domain/diagnosis.test.ts.

import type { FailureCode } from "./pipeline/spec.js";

export interface FailureSignature {
  /** Stable; shown by the API. */
  readonly cause: string;
  /** Any of them in a line of the log is a sign. */
  readonly lines: readonly RegExp[];
  /** The agent's own classification is a sign too. */
  readonly codes?: readonly FailureCode[];
  /** What to do, as a sentence or several. */
  readonly suggestion: string;
}

export const FAILURE_SIGNATURES: readonly FailureSignature[] = [
  {
    cause: "GPU_OUT_OF_MEMORY",
    lines: [/torch\.(cuda\.)?OutOfMemoryError/, /CUDA out of memory/i, /CUBLAS_STATUS_ALLOC_FAILED/, /CUDA error: out of memory/i, /hipErrorOutOfMemory/],
    codes: ["GPU_OUT_OF_MEMORY"],
    suggestion: "Lower the micro batch size per GPU or the sequence length, turn on gradient checkpointing or offloading, or use more GPUs. Check that nothing else holds memory on the GPU.",
  },
  {
    cause: "KV_CACHE_TOO_SMALL",
    lines: [/No available memory for the cache blocks/, /larger than the maximum number of tokens that can be stored in KV cache/],
    suggestion: "The inference engine has no room for its cache. Raise its gpu_memory_utilization, lower max_model_len, or spread the model over more GPUs (tensor parallel size).",
  },
  {
    cause: "SHARED_MEMORY_TOO_SMALL",
    lines: [/insufficient shared memory \(shm\)/i, /unable to (open|write|mmap) .*\/dev\/shm/i, /Bus error.*shm/i, /\/dev\/shm.*No space left on device/],
    suggestion: "/dev/shm is full or too small, which is usual in containers. Start the container with --ipc=host or a larger --shm-size, or use fewer data loader workers.",
  },
  {
    cause: "HOST_OUT_OF_MEMORY",
    lines: [/oom-kill|OOM killer|Out of memory: Killed process/i, /ray\.exceptions\.OutOfMemoryError/, /workers? .*killed due to (the node running low on memory|memory pressure)/i, /\bMemoryError\b/, /Cannot allocate memory/, /JavaScript heap out of memory/, /std::bad_alloc/, /DataLoader worker .* is killed by signal: Killed/],
    codes: ["OUT_OF_MEMORY"],
    suggestion: "The host ran out of memory. Use fewer data loader or rollout workers, load data in parts, turn optimizer offloading to the CPU off, or run on a host with more memory.",
  },
  {
    cause: "DISK_FULL",
    lines: [/No space left on device/i, /ENOSPC/, /Disk quota exceeded/i, /EDQUOT/],
    codes: ["DISK_FULL"],
    suggestion: "Free space on the agent's disk, keep fewer checkpoints (a cleanup stage, or the program's own limit), or point the output to a larger disk. Then retry.",
  },
  {
    cause: "GPU_HARDWARE_ERROR",
    lines: [/uncorrectable ECC error/i, /GPU has fallen off the bus/i, /NVRM: Xid/, /CUDA error: (uncorrectable|hardware)/i],
    suggestion: "A GPU of the host reports a hardware error. Drain the agent, look at dmesg and nvidia-smi -q, reset or replace the GPU, and retry elsewhere meanwhile.",
  },
  {
    cause: "CUDA_DRIVER_MISMATCH",
    lines: [/CUDA driver version is insufficient/i, /NVIDIA driver on your system is too old/i, /forward compatibility was attempted on non supported HW/i, /Driver\/library version mismatch/i, /no kernel image is available for execution/i, /CUDA error: invalid device function/i],
    suggestion: "The installed PyTorch or CUDA does not fit the GPU or its driver. Install a build for this driver (or a newer driver; after an upgrade, reboot), and compare with `trainyard doctor` on the host.",
  },
  {
    cause: "TOO_FEW_GPUS",
    lines: [/Total available GPUs [\d.]+ is less than total desired GPUs [\d.]+/],
    suggestion: "Ray sees fewer GPUs than the run asks for. On several nodes, look whether every host joined the cluster; on one, whether CUDA_VISIBLE_DEVICES or another run takes some of them away.",
  },
  {
    cause: "NO_GPU_VISIBLE",
    lines: [/Distributed package doesn't have NCCL/, /No CUDA GPUs are available/i, /Torch not compiled with CUDA enabled/, /no CUDA-capable device is detected/i, /Found no NVIDIA driver on your system/i, /CUDA error: invalid device ordinal/i],
    suggestion: "The program found no GPU. Request GPUs in the stage's resources, and check nvidia-smi on the host and that its Python has a CUDA build of torch.",
  },
  {
    cause: "FLASH_ATTENTION_MISSING",
    lines: [/FlashAttention2 has been toggled on, but it cannot be used/, /flash_attn seems to be not installed/],
    suggestion: "Install flash-attn built for the installed torch and CUDA, or train without it: overrides with attn_implementation: sdpa in the model's override_config.",
  },
  {
    cause: "MODULE_NOT_FOUND",
    lines: [/ModuleNotFoundError: No module named/, /ImportError: (cannot import name|No module named)/, /Cannot find (module|package) '/, /ERR_MODULE_NOT_FOUND/],
    codes: ["MODULE_NOT_FOUND"],
    suggestion: "Install the named module into the environment that the stage runs with, or start the program from the environment that has it.",
  },
  {
    cause: "NATIVE_LIBRARY_MISSING",
    lines: [/error while loading shared libraries/, /cannot open shared object file/, /undefined symbol:/, /version `GLIBC(XX)?_[\d.]+' not found/],
    suggestion: "A native library is missing or of another version. Reinstall the package that names it against the installed torch and CUDA (flash-attn and vLLM are tied to exact versions).",
  },
  {
    cause: "CHAT_TEMPLATE",
    lines: [/chat_template is not set/i, /jinja2\.exceptions\.\w+/, /Conversation roles must alternate/i],
    suggestion: "The tokenizer's chat template is missing or refuses the messages. Use an instruct model, set a template, and check that roles alternate and that the template knows them (some refuse system).",
  },
  {
    cause: "TOKENIZER",
    lines: [/Can't load tokenizer/i, /Tokenizer class .* does not exist/, /does not appear to have a file named (tokenizer|config\.json)/, /Couldn't instantiate the backend tokenizer/i, /Asking to pad but the tokenizer does not have a padding token/],
    suggestion: "The tokenizer could not be loaded or lacks a token. Check that the model folder holds its tokenizer files, that transformers is new enough, and set a padding token.",
  },
  {
    cause: "MODEL_ACCESS",
    lines: [/GatedRepoError/, /RepositoryNotFoundError/, /401 Client Error.*huggingface/i, /403 Client Error.*huggingface/i, /is not a local folder and is not a valid model identifier/, /LocalEntryNotFoundError/, /HFValidationError: Repo id must/, /couldn't connect to 'https:\/\/huggingface\.co'/i],
    suggestion: "The model could not be fetched. Check its name, accept its licence and pass a token as a secret, or download it beforehand and name the local folder (with HF_HUB_OFFLINE=1).",
  },
  {
    cause: "CHECKPOINT_MISMATCH",
    lines: [/size mismatch for [\w.]+: copying a param/, /Error\(s\) in loading state_dict/, /(PytorchStreamReader failed|invalid header or archive is corrupted)/, /SafetensorError|safetensors_rust\.\w+/, /Missing key\(s\) in state_dict/, /No such file or directory: '[^']*_world_size_\d+_rank_\d+\.pt'/, /State doesn't contain key '_\w+' expected for (single process|multiprocess)/i],
    suggestion: "The checkpoint does not fit the model or the run, or is damaged or incomplete. Resume from an older one, and check that the model, its size, the number of GPUs and whether the data loader has workers (data.num_workers) are those it was written with.",
  },
  {
    cause: "CONFIGURATION",
    lines: [/Could not override '/, /hydra\.errors\.\w+/, /omegaconf\.errors\.\w+/, /unrecognized arguments:/, /the following arguments are required:/, /pydantic(_core)?\.\w*ValidationError/],
    codes: ["INVALID_INPUT"],
    suggestion: "The program refused its settings. The evidence names the key or the argument: correct the stage's params, and compare with the installed version's own list.",
  },
  {
    cause: "NO_SCORER",
    lines: [/Reward function is not implemented for data_source/],
    suggestion: "There is no scorer of verl for this data_source. Give the train stage a reward function (reward.file) or a reward model, or prepare the data with a data_source that verl scores.",
  },
  {
    cause: "TOO_FEW_ROWS",
    lines: [/(Train|Validation) dataloader is empty/i],
    suggestion: "Fewer rows are left than one batch holds. Lower batchSize, or raise maxPromptLength if overlong prompts were left out; the log says how many rows the filter kept.",
  },
  {
    cause: "DATA_FORMAT",
    lines: [/JSONDecodeError/, /pyarrow\.lib\.Arrow\w+/, /datasets\.exceptions\.\w+/, /DatasetGenerationError/, /UnicodeDecodeError/, /KeyError: '(prompt|messages|response|text|input_ids|data_source|reward_model|question|answer)'/],
    suggestion: "The data does not have the form that the program reads. Check the named column or line of the training file, and prepare it with a preprocess stage.",
  },
  {
    cause: "SEQUENCE_TOO_LONG",
    lines: [/(prompt|sequence|input) length .* (exceeds|is longer than|larger than)/i, /maximum context length is \d+/i, /index out of range in self/],
    suggestion: "A sample is longer than the model or the settings allow. Filter or truncate long samples, or raise the maximal prompt and response length within what the model knows.",
  },
  {
    cause: "SHAPE_OR_DIVISIBILITY",
    lines: [/must be divisible by/i, /is not divisible by/i, /mat1 and mat2 shapes cannot be multiplied/, /The size of tensor a \(\d+\) must match/, /shape '\[.*\]' is invalid for input of size/],
    suggestion: "Sizes do not fit together. Check batch and micro batch sizes against the number of GPUs, and parallel sizes against the model's heads and layers.",
  },
  {
    cause: "PORT_IN_USE",
    lines: [/Address already in use/i, /EADDRINUSE/, /errno: 98\b/],
    suggestion: "Another process holds the port, often one left over from an earlier run. Find it (ss -ltnp) and end it, or choose another port (MASTER_PORT).",
  },
  {
    cause: "PERMISSION_DENIED",
    lines: [/PermissionError:/, /Permission denied/i, /\bEACCES\b/, /\bEPERM\b/, /Read-only file system/i],
    codes: ["PERMISSION_DENIED"],
    suggestion: "The agent's account may not read or write the named path. Correct its owner or mode, make the program executable, or point the stage to a folder of its own.",
  },
  {
    cause: "COMMAND_NOT_FOUND",
    lines: [/: (command )?not found$/, /spawn \S+ ENOENT/, /exec format error/i],
    codes: ["COMMAND_NOT_FOUND"],
    suggestion: "The program is not on the agent. Give its whole path, or install it and see that the agent's PATH has it.",
  },
  {
    cause: "FILE_NOT_FOUND",
    lines: [/FileNotFoundError/, /No such file or directory/i, /\bENOENT\b/],
    codes: ["FILE_NOT_FOUND", "MISSING_OUTPUT"],
    suggestion: "A file is not on this agent. Check the path; if another stage wrote it on another host, use shared storage or keep both stages on one agent by a label.",
  },
  {
    cause: "NCCL_FAILURE",
    lines: [/NCCL error/i, /ncclInternalError|ncclSystemError|ncclUnhandledCudaError|ncclRemoteError/, /Watchdog caught collective operation timeout/i, /ProcessGroupNCCL.*(timeout|abort)/i, /torch\.distributed\.DistBackendError/, /DistStoreError|Timed out after .* waiting for clients/],
    suggestion: "The GPUs lost each other. Look at the log of each rank for the first error: one that died makes the others wait. Otherwise check the network between the hosts (NCCL_DEBUG=INFO, NCCL_SOCKET_IFNAME) and raise the timeout.",
  },
  {
    cause: "RAY_TOO_FEW_CPUS",
    lines: [/No available node types can fulfill resource request/, /Unable to register worker with raylet/],
    suggestion: "Ray found no room for its workers: each GPU wants 3 processors, and some more for the run itself. Use a larger host or fewer GPUs, and leave ray_kwargs.ray_init.num_cpus unset or high enough.",
  },
  {
    cause: "RAY_ACTOR_DIED",
    lines: [/ray\.exceptions\.(ActorDiedError|RayActorError|WorkerCrashedError|ActorUnavailableError)/, /A worker died or was killed while executing/i, /The actor is dead because/i],
    suggestion: "A Ray worker died. Its own log has the first error; without one, the usual cause is the host's memory. Check dmesg for kills, and leave Ray as many CPUs as it has workers.",
  },
  {
    cause: "TLS_OR_PROXY",
    lines: [/SSLError|CERTIFICATE_VERIFY_FAILED|certificate verify failed|self[- ]signed certificate/i, /ProxyError|407 Proxy Authentication/i],
    suggestion: "The connection was refused on the way by a certificate or a proxy. Set the host's certificate bundle or proxy variables for the stage (env, and the agent's list of inherited variables).",
  },
  {
    cause: "CONNECTION_REFUSED",
    lines: [/Connection refused/i, /\bECONNREFUSED\b/, /ConnectionRefusedError/],
    suggestion: "The other side does not listen. Check that the named service runs at that address and port, and that a firewall lets this host through.",
  },
  {
    cause: "NETWORK",
    lines: [/\bETIMEDOUT\b|\bECONNRESET\b|\bENOTFOUND\b|\bEAI_AGAIN\b/, /Temporary failure in name resolution|Name or service not known/i, /ReadTimeoutError|ConnectTimeout|Max retries exceeded with url/, /Network is unreachable|No route to host/i, /Connection reset by peer/i],
    codes: ["NETWORK"],
    suggestion: "The network failed. Check name resolution and reachability from the host, allow retries with back-off, and fetch models and data beforehand where the host has no way out.",
  },
  {
    cause: "SEGMENTATION_FAULT",
    lines: [/Segmentation fault/i, /SIGSEGV|signal 11\b/i, /Fatal Python error/],
    suggestion: "Native code crashed. Versions that do not fit each other are the usual cause: compare torch, CUDA and the extension packages, and run with PYTHONFAULTHANDLER=1 for the place.",
  },
];
