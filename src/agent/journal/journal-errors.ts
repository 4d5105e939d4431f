// What may go wrong with the journal.

/** The disk has no room, and what was to be written may wait: logs and metrics stay in their files. */
export class JournalFullError extends Error {
  readonly code = "JOURNAL_FULL";
  constructor(directory: string) {
    super(`The disk of ${directory} is full; logs and metrics wait in their files. Free some space there.`);
    this.name = "JournalFullError";
  }
}

/** A record in the middle of the journal does not match its checksum: what the agent holds is no longer known for certain. */
export class JournalDamagedError extends Error {
  readonly code = "JOURNAL_DAMAGED";
  constructor(file: string, line: number) {
    super(
      `The journal ${file} is damaged at line ${line}: its checksum does not match and more records follow. ` +
        "Stop the programs that still run here, move the agent's directory aside and start again; the control plane will repeat what was lost.",
    );
    this.name = "JournalDamagedError";
  }
}
