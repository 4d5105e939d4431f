// What may stand in the way of an agent of its own on a host. A message names the host, the cause and the next step; none holds a token.

import { TrainyardError } from "../../domain/errors.js";

export type DeployErrorCode =
  | "DEPLOY_REFUSED" | "DEPLOY_BUSY" | "DEPLOY_NAME_TAKEN" | "DEPLOY_URL_UNREACHABLE" | "DEPLOY_HOST_UNFIT" | "DEPLOY_START_FAILED" | "DEPLOY_STILL_RUNNING" | "DEPLOY_FAILED";

export class DeployError extends TrainyardError {
  readonly kind = "CONFLICT";
  declare readonly code: DeployErrorCode;
  constructor(code: DeployErrorCode, host: string, message: string, options: { readonly cause?: unknown; readonly retryable?: boolean } = {}) {
    super(code, `${host}: ${message}`, { retryable: options.retryable ?? false, cause: options.cause });
  }
}
