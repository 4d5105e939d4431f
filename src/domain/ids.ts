// Ids: branded strings that show their kind. `pip_` + 26 characters of Crockford base32: 48 bits of time in milliseconds, then 80 random bits, so ids
// made later sort later (roughly across machines). They are keys, never stream cursors and never secrets.

declare const brand: unique symbol;
type Id<Kind extends string> = string & { readonly [brand]: Kind };

export type PipelineId = Id<"pip">;
export type StageId = Id<"stg">;
export type AttemptId = Id<"att">;
export type AgentId = Id<"agt">;
export type CheckpointId = Id<"ckp">;
export type EvaluationId = Id<"evl">;
export type TokenId = Id<"tok">;
export type SessionId = Id<"ses">;
export type DatasetId = Id<"dst">;
export type UploadId = Id<"upl">;
export type JobId = Id<"job">;
export type AnomalyId = Id<"ano">;
export type SshHostId = Id<"ssh">;
export type WebhookId = Id<"whk">;
export type DeliveryId = Id<"dlv">;

interface Kinds {
  pip: PipelineId; stg: StageId; att: AttemptId; agt: AgentId; ckp: CheckpointId; evl: EvaluationId; tok: TokenId; ses: SessionId; dst: DatasetId; upl: UploadId; job: JobId; ano: AnomalyId; ssh: SshHostId; whk: WebhookId; dlv: DeliveryId;
}
export type IdKind = keyof Kinds;

const KINDS: ReadonlySet<string> = new Set(["pip", "stg", "att", "agt", "ckp", "evl", "tok", "ses", "dst", "upl", "job", "ano", "ssh", "whk", "dlv"] satisfies IdKind[]);
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const PATTERN = /^([a-z]{3})_[0-9a-hjkmnp-tv-z]{26}$/;

/** Makes an id of the given kind. `at` is milliseconds since 1970. Chance comes from the platform's cryptographic source. */
export function newId<K extends IdKind>(kind: K, at: number = Date.now()): Kinds[K] {
  let time = "";
  for (let rest = Math.floor(at), i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time;
  // A random UUID is the cheapest source of random bits here; the digits that say its version and variant are left out.
  const hex = crypto.randomUUID();
  const tail = fourCharacters(hex.slice(0, 5)) + fourCharacters(hex.slice(24, 29)) + fourCharacters(hex.slice(29, 34)) + fourCharacters(hex.slice(34) + hex.slice(5, 8));
  return `${kind}_${time}${tail}` as Kinds[K];
}

/** 20 bits, as five hexadecimal digits, in base32. */
function fourCharacters(hex: string): string {
  const bits = Number.parseInt(hex, 16);
  return ALPHABET[bits >> 15]! + ALPHABET[(bits >> 10) & 31]! + ALPHABET[(bits >> 5) & 31]! + ALPHABET[bits & 31]!;
}

/** The kind an id shows, or null when the text is no id of ours. */
export function idKind(text: string): IdKind | null {
  const kind = PATTERN.exec(text)?.[1];
  return kind !== undefined && KINDS.has(kind) ? (kind as IdKind) : null;
}

/** Whether the text is an id of this kind. */
export function isId<K extends IdKind>(kind: K, text: string): text is Kinds[K] {
  return idKind(text) === kind;
}

/** A training job is its train stage seen as an experiment: its id is the stage's, with its own prefix. */
export function jobIdOf(stageId: StageId): JobId {
  return `job_${stageId.slice(4)}` as JobId;
}

/** The stage of a training job. */
export function stageOfJob(jobId: JobId): StageId {
  return `stg_${jobId.slice(4)}` as StageId;
}
