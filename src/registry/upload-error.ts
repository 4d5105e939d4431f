// Why an upload was refused. Nothing of a refused upload stays on disk.

import { TrainyardError, type ErrorKind } from "../domain/errors.js";

export type UploadErrorCode =
  /** The file's name cannot be kept, or its ending says no data format. */
  | "UPLOAD_NAME_REFUSED"
  | "UPLOAD_TOO_LARGE"
  /** Fewer or other bytes came than were announced. */
  | "UPLOAD_HASH_MISMATCH"
  | "UPLOAD_BROKEN_OFF"
  /** As many uploads are under way as may be. */
  | "UPLOADS_BUSY"
  | "UPLOAD_NO_SPACE"
  /** Nothing came for a while. */
  | "UPLOAD_STALLED";

const UNAVAILABLE: ReadonlySet<UploadErrorCode> = new Set(["UPLOADS_BUSY", "UPLOAD_NO_SPACE", "UPLOAD_BROKEN_OFF", "UPLOAD_STALLED"]);

export class UploadError extends TrainyardError {
  readonly kind: ErrorKind;
  declare readonly code: UploadErrorCode;
  constructor(code: UploadErrorCode, message: string, cause?: unknown) {
    super(code, message, { retryable: UNAVAILABLE.has(code), cause });
    this.kind = UNAVAILABLE.has(code) ? "UNAVAILABLE" : "INVALID_INPUT";
  }
}
