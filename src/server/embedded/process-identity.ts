// Moved below both users of it, the embedded stores and the agent: src/process-identity.ts.
export { identifyProcess, isAlive, pidRealm, type ProcessIdentity } from "../../process-identity.js";
