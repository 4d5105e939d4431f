// Runs a program of the checkout in the form that is shipped: bundled beside the product's own bundle, so that what it measures starts and runs as it does for users.
//   node scripts/run-bundled.mjs bench/ssh.ts [arguments of the program]
import { build } from "esbuild";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import "./build.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const [program] = process.argv.splice(2, 1);
const outfile = join(root, "dist", "bench", `${basename(program, ".ts")}.js`);
await build({ entryPoints: [join(root, program)], outfile, bundle: true, format: "esm", platform: "node", target: "node20", packages: "external", logLevel: "warning" });
await import(pathToFileURL(outfile).href);
