// Moved below both users of it, the embedded stores and the agent: src/directory-lock.ts.
export { acquireDirectoryLock, type DirectoryLock, type LockHolder, type LockOutcome } from "../../directory-lock.js";
