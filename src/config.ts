// The one place that reads the environment. Every variable has a default or a reason to be required, a unit and a description; docs/configuration.md and
// .env.example are generated from here. Parsed once at the entry and passed down.

import { z } from "zod";

const integer = (low: number, high: number) => z.coerce.number().int().min(low).max(high);
const millis = integer(1, 86_400_000 * 365);
const list = (separator: string) => z.string().transform((text) => text.split(separator).map((part) => part.trim()).filter((part) => part !== ""));

export const serverConfigSchema = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional().describe("Postgres to use. Without it an embedded PostgreSQL runs in the data directory."),
  REDIS_URL: z.url({ protocol: /^rediss?$/ }).optional().describe("Redis for the fast agent link and wake-ups. Without it a redis-server on PATH is started privately; without that, agents use HTTPS."),
  TRAINYARD_REDIS: z.enum(["auto", "off"]).default("auto").describe("off: never start a private Redis."),
  TRAINYARD_REDIS_PREFIX: z.string().regex(/^[a-zA-Z0-9_:-]{1,40}$/).default("ty").describe("Prefix of every Redis key."),
  TRAINYARD_DATA_DIR: z.string().min(1).default(".trainyard").describe("Directory of the embedded stores, tokens and uploads."),
  TRAINYARD_SECRET_KEY: z.string().min(1).optional().describe("Key that credentials are sealed with in the database: 32 bytes in base64 or hexadecimal. Several, separated by commas: the first seals, all open."),
  TRAINYARD_SECRET_KEY_FILE: z.string().min(1).optional().describe("File (mode 0600) that holds the key instead. Default: secret-key in the data directory, made when the first credential is stored. All control-plane processes of one database need the same key."),
  SSH_AUTH_SOCK: z.string().min(1).optional().describe("Socket of an ssh-agent, for SSH hosts that were added without a key of their own."),
  TRAINYARD_HOST: z.string().min(1).default("127.0.0.1").describe("Address to listen on. Anything but loopback needs TLS in front or TRAINYARD_TLS_*."),
  TRAINYARD_PORT: integer(0, 65_535).default(7070).describe("TCP port of GraphQL, agents, health and metrics; 0 picks a free one."),
  TRAINYARD_PUBLIC_URL: z.url().optional().describe("How clients and agents reach this server, when that differs from host and port."),
  TRAINYARD_AGENT_REDIS_URL: z.url({ protocol: /^rediss?$/ }).optional().describe("How agents reach Redis, when that differs from REDIS_URL."),
  TRAINYARD_TLS_CERT: z.string().optional().describe("PEM file: certificate chain. With TRAINYARD_TLS_KEY the server speaks HTTPS itself."),
  TRAINYARD_TLS_KEY: z.string().optional().describe("PEM file: private key."),
  TRAINYARD_DATA_DIRS: list(":").default([]).describe("Colon-separated folders in which relative data paths resolve; paths stay inside them."),
  TRAINYARD_CORS_ORIGINS: list(",").default([]).describe("Comma-separated origins that browsers may call from; empty: none but our own."),
  TRAINYARD_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info").describe("Least severe log line written."),
  TRAINYARD_LEASE_TTL_MS: millis.min(1_000).default(600_000).describe("Silence after which an agent's attempts are lost, in ms. Far above the time at which it is shown as unresponsive: a hiccup must not end a night of training."),
  TRAINYARD_RENEW_EVERY_MS: millis.default(10_000).describe("How often agents renew, in ms."),
  TRAINYARD_UNRESPONSIVE_AFTER_MS: millis.default(45_000).describe("Silence after which an agent gets no new work and is shown as UNRESPONSIVE, in ms."),
  TRAINYARD_START_GRACE_MS: integer(0, 86_400_000).default(300_000).describe("After a start of the control plane nobody is lost for this long, in ms."),
  TRAINYARD_REPUBLISH_AFTER_MS: millis.default(15_000).describe("An offer not taken up is published again after this, in ms."),
  TRAINYARD_SWEEP_EVERY_MS: millis.default(5_000).describe("How often leases and timers are swept, in ms."),
  TRAINYARD_POOL_SIZE: integer(2, 200).default(12).describe("Postgres connections of one control-plane process."),
  TRAINYARD_BODY_LIMIT_BYTES: integer(1_024, 16 * 1_048_576).default(1_048_576).describe("Largest GraphQL request body, in bytes."),
  TRAINYARD_UPLOAD_LIMIT_BYTES: integer(1_024, Number.MAX_SAFE_INTEGER).default(10 * 1_073_741_824).describe("Largest data file that may be uploaded, in bytes."),
  TRAINYARD_EVENT_RETENTION_DAYS: integer(0, 36_500).default(0).describe("Events of pipelines finished longer ago than this are deleted, in days; 0 keeps all."),
  TRAINYARD_METRIC_RETENTION_DAYS: integer(0, 36_500).default(0).describe("Raw metric points of pipelines finished longer ago than this are deleted (roll-ups stay), in days; 0 keeps all."),
  TRAINYARD_LOG_RETENTION_DAYS: integer(0, 36_500).default(90).describe("Logs of pipelines finished longer ago than this are deleted, in days; 0 keeps all."),
  TRAINYARD_LOG_LIMIT_BYTES: integer(65_536, Number.MAX_SAFE_INTEGER).default(1_073_741_824).describe("Log bytes kept per stage; what comes after is declared as a gap."),
  TRAINYARD_SAMPLE_RETENTION_DAYS: integer(0, 36_500).default(365).describe("Samples (prompts and answers of trainings and evaluations) of pipelines finished longer ago than this are deleted (scores stay), in days; 0 keeps all."),
  TRAINYARD_SAMPLE_LIMIT_BYTES: integer(65_536, Number.MAX_SAFE_INTEGER).default(268_435_456).describe("Bytes of samples kept per stage; those that come after are only counted."),
  TRAINYARD_CHECKPOINT_RETENTION_DAYS: integer(0, 36_500).default(0).describe("Checkpoints older than this are deleted, except pinned, best and newest ones and those of running pipelines, in days; 0 keeps all."),
});
export type ServerConfig = z.infer<typeof serverConfigSchema>;

export const agentConfigSchema = z.object({
  TRAINYARD_URL: z.url().default("http://127.0.0.1:7070").describe("The control plane."),
  TRAINYARD_AGENT_TOKEN: z.string().min(1).optional().describe("Agent token; or TRAINYARD_AGENT_TOKEN_FILE."),
  TRAINYARD_AGENT_TOKEN_FILE: z.string().optional().describe("File that holds the agent token."),
  TRAINYARD_AGENT_NAME: z.string().min(1).max(200).optional().describe("Name of this agent. Default: the host's name."),
  TRAINYARD_AGENT_DIR: z.string().min(1).default(".trainyard/agent").describe("Directory of journal, spool and attempt directories."),
  TRAINYARD_AGENT_POOLS: z.string().default("training=1;default,evaluation,preprocessing,maintenance=4").describe("Pools of queues that share slots: queue[,queue…]=slots, separated by ';'."),
  TRAINYARD_AGENT_LABELS: z.string().default("").describe("Labels, key=value separated by commas."),
  TRAINYARD_AGENT_LINK: z.enum(["auto", "https"]).default("auto").describe("auto: Redis streams when offered, HTTPS while they are away."),
  TRAINYARD_AGENT_ADDRESS: z.string().optional().describe("Address under which other agents reach this host, for stages over several nodes."),
  TRAINYARD_AGENT_ENV: list(",").default(["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL", "TERM", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "CUDA_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"]).describe("Variables of the agent's own environment that programs inherit, by name; everything else stays out."),
  TRAINYARD_AGENT_SECRETS_FILE: z.string().optional().describe("JSON file (mode 0600), name → value, from which secret://name is filled in. Also read: TRAINYARD_SECRET_<NAME>."),
  TRAINYARD_AGENT_SPOOL_LIMIT_BYTES: integer(1_048_576, Number.MAX_SAFE_INTEGER).default(268_435_456).describe("Spool size at which logs and metrics wait in their files, in bytes; the end of an attempt is always recorded."),
  TRAINYARD_AGENT_KEEP_DAYS: integer(0, 36_500).default(14).describe("Directories of finished attempts that hold neither a checkpoint nor a registered data file are removed after this, and fetched data sets and files brought to an SSH host that nothing used for so long; in days; 0 keeps all."),
  TRAINYARD_DATA_DIRS: list(":").default([]).describe("Colon-separated folders in which preprocess stages find their input; relative paths resolve in each in turn, and none leads outside."),
  TRAINYARD_AGENT_PYTHON: z.string().min(1).default("python3").describe("Python interpreter that has verl and TRL, by path or as a name on PATH; a stage may name another."),
  TRAINYARD_AGENT_CPUS: integer(1, 65_536).optional().describe("Processors that trainers may count on. Default: those this process may use; give it where a container's limit is not seen."),
  TRAINYARD_AGENT_SHARED_DIR: z.string().min(1).optional().describe("Folder on a file system that all agents share, at the same path for each: checkpoints of trainings over several nodes. Without it such stages are refused."),
  TRAINYARD_AGENT_PORTS: z.string().default("29500-29999").describe("Ports, first-last, of which the head of a training over several nodes takes one that is free on its host and tells it to the others; they must reach the head there."),
  TRAINYARD_NVIDIA_SMI: z.string().default("nvidia-smi").describe("Program that lists the GPUs."),
  TRAINYARD_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info").describe("Least severe log line written."),
  TRAINYARD_CA_FILE: z.string().optional().describe("PEM file: the authority that signed the control plane's certificate."),
});
export type AgentConfig = z.infer<typeof agentConfigSchema>;

export const clientConfigSchema = z.object({
  TRAINYARD_URL: z.string().optional().describe("Server that the commands talk to, e.g. http://127.0.0.1:7070."),
  TRAINYARD_TOKEN: z.string().optional().describe("Token of the commands. Tokens never come from a flag."),
  TRAINYARD_DATA_DIR: z.string().optional().describe("Where a server started here left its address and token. Default: .trainyard or .trainyard/demo, here or in a folder above."),
  NO_COLOR: z.string().optional().describe("Set: no colours."),
  FORCE_COLOR: z.string().optional().describe("Set: colours even when the output is no terminal."),
  TRAINYARD_DEBUG: z.string().optional().describe("Set: the commands show where an error comes from."),
});
export type ClientConfig = z.infer<typeof clientConfigSchema>;

/** Refusal of an environment: every variable that is wrong, each with its fix. */
export class ConfigError extends Error {
  readonly code = "CONFIG_INVALID";
}

/** Reads one of the schemas above from an environment. Throws ConfigError naming all variables that are wrong. Empty values count as absent. */
export function readConfig<S extends z.ZodObject>(schema: S, environment: Readonly<Record<string, string | undefined>>): z.infer<S> {
  const given = Object.fromEntries(Object.keys(schema.shape).flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => {
    const name = String(issue.path[0]);
    return `  ${name}: ${issue.message}. ${(schema.shape[name] as z.ZodType | undefined)?.description ?? ""}`;
  });
  throw new ConfigError(`The configuration is not valid:\n${lines.join("\n")}`);
}
