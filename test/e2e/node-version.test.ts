import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, inject, onTestFinished, test } from "vitest";
import { startProcess } from "../support/service-process.ts";
import { createTestDatabase } from "../support/stores/database.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cartwright-node-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function run(node: string, args: readonly string[], cwd = root) {
  const { status, stdout, stderr } = spawnSync(node, args, { cwd, encoding: "utf8" });
  return { status, stdout, stderr };
}

const SCRIPTS = ["start", "seed", "import", "admin", "migration", "check", "bench", "bench:ghz"];

test("each script that runs a program of the repository uses bin/run.mjs", () => {
  const { stdout } = run("npm", ["pkg", "get", "scripts"]);
  const scripts: Record<string, string> = JSON.parse(stdout);
  for (const name of SCRIPTS) expect(scripts[name]).toMatch(/^(exec )?node bin\/run\.mjs \S+\.ts$/);
  expect(Object.values(scripts).filter((script) => /node (?!bin\/run\.mjs)/.test(script))).toEqual([]);
});

test("a Node that cannot load TypeScript ends with one sentence that says what to do", () => {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((one) => !one.includes("node_modules"));
  // Older versions of the machine too: they must be able to parse bin/run.mjs.
  const older = folders
    .map((one) => join(one, "node"))
    .filter((node) => run(node, ["-p", "process.features.typescript ?? false"]).stdout === "false\n");
  for (const [node, ...options] of [[process.execPath, "--no-strip-types"], ...older.map((node) => [node])]) {
    const result = run(node ?? "", [...options, "bin/run.mjs", "src/main.ts"]);
    expect(result).toMatchObject({ status: 1, stdout: "" });
    expect(result.stderr).toMatch(/^Node v[\d.]+ \(.+\) cannot run TypeScript: .*Node 26.* Run npm ci .*\n$/);
  }
});

test("a fresh clone ends with one sentence until the dependencies are installed", () => {
  for (const name of ["package.json", "bin", "src"])
    cpSync(join(root, name), join(folder, name), { recursive: true });
  const result = run("npm", ["run", "--silent", "start"], folder);
  expect(result).toMatchObject({ status: 1, stdout: "" });
  expect(result.stderr).toMatch(/^The dependencies are not installed\. Run npm ci first: .*\n$/);
});

test("a program gets its own arguments and sets the exit code", () => {
  const help = run("npm", ["run", "--silent", "seed", "--", "--help"]);
  expect(help).toMatchObject({
    status: 0,
    stderr: "",
    stdout: expect.stringContaining("Usage: npm run seed"),
  });
  expect(run("npm", ["run", "--silent", "admin", "--", "no-command"]).status).toBe(1);
});

test("a version of Node that is not tested is logged as a warning, and the tested one is not", async () => {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const env = { PORT: "0", DATABASE_URL: database.url, REDIS_URL: inject("redisUrl"), SEED_DEMO: "off" };
  const code =
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "22.18.0" } })';
  const older = `--import=data:text/javascript,${encodeURIComponent(code)}`;
  const warningsWith = async (extra: Record<string, string>) => {
    const service = startProcess({ ...env, ...extra });
    await service.listening;
    service.child.kill("SIGTERM");
    await service.exited;
    return service.lines.filter(({ level }) => level === "warn");
  };
  expect(await warningsWith({ NODE_OPTIONS: older })).toMatchObject([{ tested: 26 }]);
  expect(await warningsWith({})).toEqual([]);
});
