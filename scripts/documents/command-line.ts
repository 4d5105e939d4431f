// docs/cli.md, from the command line's own description of itself.
import type { Document } from "./document.js";

export const commandLineReference: Document = {
  path: "docs/cli.md",
  async render() {
    const { describeCli } = await import("../../src/cli/describe.js");
    return describeCli();
  },
};
