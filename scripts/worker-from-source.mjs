// The program of a worker thread or process in a checkout: has tsx read the source whose URL is the argument. `--import tsx` registers nothing in a thread of Node 20.
import { register } from "tsx/esm/api";

register();
await import(process.argv[2]);
