import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startCli } from "../support/cli/start-cli.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { startOnTerminal } from "../support/terminal-process.ts";

// The first and the second start of a shop without configuration, as a newcomer sees them.
let dataDir: string;
const running: ServiceProcess[] = [];
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-first-"));
});
afterEach(async () => {
  for (const { child, exited } of running.splice(0)) {
    child.kill("SIGKILL");
    await exited;
  }
  await rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

const EMAILS = ["customer@example.com", "staff@example.com", "admin@example.com"];
const passwordFile = () => join(dataDir, "demo-password");

function start(env: Record<string, string> = {}): ServiceProcess {
  const service = startProcess({ PORT: "0", DATA_DIR: dataDir, ACCESS: "on", ...env });
  running.push(service);
  return service;
}

async function signIn(url: string, email: string, password: string): Promise<number> {
  const response = await fetch(`${url}/cartwright.identity.v1.IdentityService/SignIn`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password }),
  });
  return response.status;
}

/** Returns everything that a process and its stores have logged. */
async function allLogsOf({ lines, stderr }: ServiceProcess): Promise<string> {
  const files = globSync("*.log", { cwd: dataDir });
  expect(files.toSorted()).toEqual(["postgres.log", "redis.log"]);
  const texts = await Promise.all(files.map((file) => readFile(join(dataDir, file), "utf8")));
  return [JSON.stringify(lines), stderr(), ...texts].join("\n");
}

test("the password of the demo is in a private file and in no log, and the next start says how to set another", async () => {
  const first = start({ LOG_LEVEL: "trace" });
  const url = await first.listening;
  const password = (await readFile(passwordFile(), "utf8")).trim();
  expect(password).toMatch(/^[\w-]{16}$/);
  expect((await stat(passwordFile())).mode & 0o777).toBe(0o600);
  for (const email of EMAILS) expect(await signIn(url, email, password)).toBe(200);
  const setPassword = "npm run admin -- set-password --email EMAIL";
  const accounts = { emails: EMAILS, passwordFile: passwordFile(), setPassword };
  expect(first.lines.filter((line) => line.accounts)).toMatchObject([{ address: url, accounts }]);
  expect(await allLogsOf(first)).not.toContain(password);
  // While the service runs, as the log suggests.
  const admin = startCli("admin/main.ts", ["set-password", "--email", "admin@example.com"], {
    DATA_DIR: dataDir,
  });
  const { out } = await admin.ended;
  expect(await signIn(url, "admin@example.com", out.trim())).toBe(200);
  first.child.kill("SIGTERM");
  expect(await first.exited).toBe(0);
  await rm(passwordFile());
  const second = start();
  await second.listening;
  expect(second.lines.filter((line) => line.accounts)).toMatchObject([
    { accounts: { emails: EMAILS, setPassword } },
  ]);
  expect(second.lines.filter((line) => line.accounts)).not.toMatchObject([
    { accounts: { passwordFile: /./ } },
  ]);
});

test("the first start logs three lines before its address, with whole numbers", async () => {
  const service = start({ LIMITS: "on" });
  await service.listening;
  expect(service.lines.map(({ msg }) => msg)).toEqual([
    "Database migrated",
    "Demo data added",
    "Redis connected",
    expect.stringContaining("listening on"),
  ]);
  const numbers = service.lines.flatMap((line) =>
    Object.values(line).filter((value) => typeof value === "number"),
  );
  expect(numbers.length).toBeGreaterThan(4);
  expect(numbers.filter((value) => !Number.isInteger(value))).toEqual([]);
});

test("the service warns of misspelled variables, and an admin command does so on standard error", async () => {
  const misspelled = { LIMIT_REDA: "1/1" };
  const service = start({ ...misspelled, SEED_DEMO: "off" });
  await service.listening;
  const warning = { variable: "LIMIT_REDA", suggestions: ["LIMIT_READ"] };
  expect(service.lines.filter(({ level }) => level === "warn")).toMatchObject([warning]);
  const args = ["create-user", "--email", "ada@example.com", "--role", "admin"];
  const { out, errors } = await startCli("admin/main.ts", args, { DATA_DIR: dataDir, ...misspelled }).ended;
  expect(out).toMatch(/^[\w-]{24}\n$/);
  const [line = ""] = errors.split("\n");
  expect(JSON.parse(line)).toMatchObject(warning);
});

test("on a terminal the first start prints three log lines, the address and the password; the second prints where it is", async ({
  skip,
}) => {
  const hasTerminal = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;
  if (!hasTerminal) skip("script of util-linux is not installed");
  const command = `exec '${process.execPath}' src/main.ts`;
  const env = { PORT: "0", DATA_DIR: dataDir };
  const first = startOnTerminal(command, env);
  await expect.poll(first.output).toContain("Ctrl-C");
  const password = (await readFile(passwordFile(), "utf8")).trim();
  const [logs = "", banner = ""] = first.output().split("\n\n");
  expect(
    logs.split("\n").map((line) =>
      line
        .replace(/^\[[\d:]+\] /, "")
        .replace(/migration-[\w-]+/, "NAME")
        .replace(/\d+/g, "N"),
    ),
  ).toEqual([
    'INFO: Database migrated {"migrations":N,"latest":"NAME","durationMs":N}',
    'INFO: Demo data added {"products":N,"customers":N,"orders":N,"purchases":N,"durationMs":N}',
    "INFO: Redis connected",
  ]);
  expect(banner).toContain(`with the password ${password} (in ${passwordFile()})`);
  expect(await first.interrupt()).toBe(0);
  const second = startOnTerminal(command, env);
  await expect.poll(second.output).toContain("Ctrl-C");
  expect(second.output()).not.toContain(password);
  expect(second.output()).toContain(
    `with the initial password (in ${passwordFile()}), unless you have changed it`,
  );
  expect(second.output()).toContain(
    "To set another password: npm run admin -- set-password --email admin@example.com",
  );
  expect(await second.interrupt()).toBe(0);
});
