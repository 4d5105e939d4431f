// docker-compose.yml, Dockerfile and .env.example without a Docker engine: what can be read is judged, and what the containers would run is run as processes,
// with the same variables, over a PostgreSQL and a Redis with the users of deploy/redis.
import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { agentConfigSchema, readConfig, serverConfigSchema } from "../../src/config.js";
import { packagePath } from "../../src/package-root.js";
import { findRedisServer } from "../../src/server/embedded/redis-binary.js";
import { freePort, pollUntil } from "../../src/server/embedded/server-process.js";
import { builtCli } from "../support/built-cli.js";
import { createEmptyDatabase, type TestDatabase } from "../support/postgres.js";

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly target: string };
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly profiles?: readonly string[];
  readonly restart?: string;
  readonly init?: boolean;
  readonly user?: string;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}
interface Compose { readonly version?: string; readonly services: Readonly<Record<string, Service>>; readonly volumes: Readonly<Record<string, unknown>> }

const PASSWORDS = { TRAINYARD_POSTGRES_PASSWORD: "0123456789abcdef", TRAINYARD_REDIS_PASSWORD: "fedcba9876543210" };

/** As `docker compose config`: variables filled in as its rules say. Throws for `${NAME:?message}` without a value. */
function composeFile(environment: Readonly<Record<string, string>>): Compose {
  const text = readFileSync(packagePath("docker-compose.yml"), "utf8");
  const fill = (value: unknown): unknown => {
    if (typeof value === "string") {
      return value.replace(/\$\{([A-Z0-9_]+)(?::([-?])([^}]*))?\}/g, (_, name: string, rule: string | undefined, rest: string | undefined) => {
        const given = environment[name] ?? "";
        if (given !== "") return given;
        if (rule === "?") throw new Error(`required variable ${name} is missing a value: ${rest}`);
        return rest ?? "";
      });
    }
    if (Array.isArray(value)) return value.map(fill);
    return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item)])) : value;
  };
  return fill(parse(text, { merge: true })) as Compose;
}

const compose = composeFile(PASSWORDS);
const services = Object.entries(compose.services);

describe("docker-compose.yml", () => {
  test("has the parts of a production of one host, and no version key", () => {
    expect(compose.version).toBeUndefined();
    expect(Object.keys(compose.services)).toEqual(["postgres", "redis", "migrate", "control-plane", "agent-token", "agent", "ssh-agents", "gpu-agent"]);
    expect(services.filter(([, service]) => service.profiles !== undefined).map(([name]) => name)).toEqual(["gpu-agent"]);
  });

  test("refuses to begin without passwords, and names the variable", () => {
    for (const name of Object.keys(PASSWORDS)) expect(() => composeFile({ ...PASSWORDS, [name]: "" })).toThrow(`${name} is missing a value: set it in .env`);
  });

  test("publishes on loopback only", () => {
    const ports = services.flatMap(([, service]) => service.ports ?? []);
    expect(ports).toEqual(["127.0.0.1:7070:7070"]);
  });

  test("waits for what is healthy or done, and only for what can be", () => {
    for (const [name, service] of services) {
      for (const [target, { condition }] of Object.entries(service.depends_on ?? {})) {
        const awaited = compose.services[target];
        expect(awaited, `${name} → ${target}`).toBeDefined();
        if (condition === "service_healthy") expect(awaited!.healthcheck, target).toBeDefined();
        else expect({ condition, restart: awaited!.restart }, target).toEqual({ condition: "service_completed_successfully", restart: "no" });
      }
    }
    expect(compose.services["control-plane"]!.depends_on!["migrate"]!.condition).toBe("service_completed_successfully");
  });

  test("names its images by a version or builds them, runs an init in each, and declares every volume it uses", () => {
    const used = new Set<string>();
    for (const [name, service] of services) {
      expect(service.init, name).toBe(true);
      if (service.build === undefined) expect(service.image, name).toMatch(/^[a-z]+:\d+/);
      for (const volume of service.volumes ?? []) {
        const source = volume.split(":")[0]!;
        if (source.startsWith(".")) expect(existsSync(packagePath(source)), source).toBe(true);
        else used.add(source);
      }
    }
    expect([...used].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  test("gives every part an environment that its configuration accepts, without a variable that nothing reads", () => {
    for (const [name, schema] of [["control-plane", serverConfigSchema], ["migrate", serverConfigSchema], ["agent", agentConfigSchema], ["gpu-agent", agentConfigSchema]] as const) {
      const environment = compose.services[name]!.environment!;
      expect(() => readConfig(schema, environment), name).not.toThrow();
      expect(Object.keys(environment).filter((key) => !(key in schema.shape)), name).toEqual([]);
    }
    const both = compose.services["ssh-agents"]!.environment!; // it reads the database as the control plane does, and reports as agents do
    for (const schema of [serverConfigSchema, agentConfigSchema]) expect(() => readConfig(schema, both)).not.toThrow();
    expect(Object.keys(both).filter((key) => !(key in serverConfigSchema.shape) && !(key in agentConfigSchema.shape))).toEqual([]);
  });

  const plugin = spawnSync("docker", ["compose", "version"]).status === 0;
  if (!plugin) console.warn("NOT RUN: `docker compose config`: there is no docker with its compose plugin on PATH");
  test.skipIf(!plugin)("is what docker compose understands", async () => {
    const { stdout } = await promisify(execFile)("docker", ["compose", "--profile", "gpu", "-f", packagePath("docker-compose.yml"), "config", "--format", "json"], { env: { ...process.env, ...PASSWORDS } });
    expect(Object.keys((JSON.parse(stdout) as Compose).services).sort()).toEqual(Object.keys(compose.services).sort());
  });
});

describe("Dockerfile", () => {
  const lines = readFileSync(packagePath("Dockerfile"), "utf8").replace(/\\\n\s*/g, " ").split("\n");
  const stages = lines.flatMap((line) => /^FROM \S+ AS (\S+)$/.exec(line)?.[1] ?? []);

  test("has the stages that docker-compose.yml builds, and copies only from stages that it has", () => {
    for (const [, service] of services) if (service.build !== undefined) expect(stages).toContain(service.build.target);
    for (const line of lines) {
      const from = /^COPY --from=(\S+)/.exec(line)?.[1];
      if (from !== undefined) expect(stages, line).toContain(from);
    }
  });

  test("copies what is in the checkout and not left out by .dockerignore", () => {
    const admitted = readFileSync(packagePath(".dockerignore"), "utf8").split("\n").flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []));
    for (const path of admitted) expect(existsSync(packagePath(path)), path).toBe(true);
    for (const line of lines.filter((line) => line.startsWith("COPY ") && !line.includes("--from="))) {
      for (const source of line.split(/\s+/).slice(1, -1)) {
        if (source === ".") continue;
        expect(existsSync(packagePath(source)), source).toBe(true);
        expect(admitted.some((path) => path === source || path.startsWith(`${source}/`) || source.startsWith(`${path}/`)), source).toBe(true);
      }
    }
  });

  test("ends as an ordinary user", () => {
    for (const stage of ["trainyard", "trainyard-gpu"]) {
      const from = lines.findIndex((line) => line.endsWith(` AS ${stage}`));
      const next = lines.findIndex((line, index) => index > from && line.startsWith("FROM "));
      const users = lines.slice(from, next < 0 ? undefined : next).flatMap((line) => /^USER (\S+)/.exec(line)?.[1] ?? []);
      expect(users.at(-1), stage).toBe("1000:1000");
    }
  });
});

describe.skipIf(findRedisServer()?.kind !== "redis-server")("what the containers run, run as processes", () => {
  const children: ChildProcess[] = [];
  let database: TestDatabase;
  let folder = "";
  let port = 0;
  let redisPort = 0;
  const logs = new Map<string, string>();

  /** The environment of a service, with addresses as they are here. */
  function environmentOf(name: string): Record<string, string> {
    const here = Object.entries(compose.services[name]!.environment ?? {}).map(([key, value]) => [
      key,
      value
        .replace(/^postgres:.*$/, database.url)
        .replace("@redis:6379", `@127.0.0.1:${redisPort}`).replace("//redis:6379", `//127.0.0.1:${redisPort}`)
        .replace("//control-plane:7070", `//127.0.0.1:${port}`)
        .replace("0.0.0.0", "127.0.0.1")
        .replace(/^7070$/, String(port))
        .replace("/var/lib/trainyard", join(folder, "var")),
    ]);
    return { PATH: `${join(folder, "bin")}:${process.env["PATH"]}`, HOME: folder, ...(Object.fromEntries(here) as Record<string, string>) };
  }

  function start(name: string, file: string, args: readonly string[], environment = environmentOf(name)): ChildProcess {
    const child = spawn(file, args, { env: environment, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => logs.set(name, (logs.get(name) ?? "") + chunk.toString()));
    children.push(child);
    return child;
  }

  async function runToEnd(name: string, file: string, args: readonly string[]): Promise<void> {
    const child = start(name, file, args);
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(code, `${name}: ${logs.get(name)}`).toBe(0);
  }

  beforeAll(async () => {
    const cli = await builtCli();
    folder = mkdtempSync(join(inject("runFolder"), "compose-"));
    chmodSync(folder, 0o755);
    for (const path of ["bin", "var/data", "var/agent", "var/token"]) mkdirSync(join(folder, path), { recursive: true });
    symlinkSync(cli, join(folder, "bin", "trainyard"));
    database = await createEmptyDatabase();
    [port, redisPort] = [await freePort(null), await freePort(null)];
    start("redis", "sh", [packagePath("deploy/redis/start.sh"), "--dir", folder, "--port", String(redisPort), "--bind", "127.0.0.1"], { ...environmentOf("redis"), TRAINYARD_REDIS_RUN_DIR: folder });
  }, 60_000);

  afterAll(async () => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
      await gone;
      clearTimeout(late);
    }
    await database?.drop();
  }, 60_000);

  test("migrate, then the agent's token, then control plane and agents: healthy, and a pipeline runs to its end over the fast link", { timeout: 90_000 }, async () => {
    await runToEnd("migrate", "trainyard", compose.services["migrate"]!.command!);
    const tokenFile = join(folder, "var", "token", "agent");
    const agentToken = compose.services["agent-token"]!.entrypoint!.map((part) => part.replace("/app/", `${packagePath()}/`));
    await runToEnd("agent-token", agentToken[0]!, [...agentToken.slice(1), tokenFile]);
    const token = readFileSync(tokenFile, "utf8");
    expect(token).toMatch(/^ty_\w+\n$/);
    await runToEnd("agent-token", agentToken[0]!, [...agentToken.slice(1), tokenFile]); // `up` again keeps it
    expect(readFileSync(tokenFile, "utf8")).toBe(token);

    start("control-plane", "trainyard", compose.services["control-plane"]!.command!);
    const [, file, ...check] = compose.services["control-plane"]!.healthcheck!.test as [string, string, ...string[]];
    const healthy = () => spawnSync(file, check.map((part) => part.replace(":7070/", `:${port}/`)), { env: { PATH: process.env["PATH"] } }).status === 0;
    expect(await pollUntil(healthy, 30_000), logs.get("control-plane")).toBe(true);
    for (const name of ["agent", "ssh-agents"]) start(name, "trainyard", compose.services[name]!.command!);
    expect(await pollUntil(() => logs.get("ssh-agents")?.includes("Acting for the SSH hosts") ?? false, 30_000), logs.get("ssh-agents")).toBe(true);

    // The command that docker-compose.yml gives the reader.
    const { stdout: admin } = await promisify(execFile)("trainyard", ["token", "create", "--role", "admin", "--name", "you", "--local"], { env: environmentOf("control-plane"), cwd: folder });
    const specification = join(folder, "two.yaml");
    writeFileSync(specification, [
      "name: two", "stages:",
      "  - { name: a, kind: command, params: { run: [node, -e, \"require('fs').writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, '{}')\"] } }",
      "  - { name: b, kind: command, dependsOn: [a], params: { run: [node, --version] } }", "",
    ].join("\n"));
    const user = { PATH: environmentOf("agent")["PATH"], HOME: folder, TRAINYARD_URL: `http://127.0.0.1:${port}`, TRAINYARD_TOKEN: admin.trim() };
    const submitted = await promisify(execFile)("trainyard", ["submit", specification, "--watch", "--timeout", "60s"], { env: user, cwd: folder }).catch((error: unknown) => error as { code: number; stdout: string; stderr: string });
    expect(submitted, `${JSON.stringify(submitted)}\n${logs.get("agent")}`).not.toHaveProperty("code");
    expect(logs.get("agent")).toContain('"streams":true');
    expect(logs.get("control-plane")).not.toContain("Redis refused");
  });
});
