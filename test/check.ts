// npm run check: the static checks of the sources. Nothing is started.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { entities } from "../src/entities.ts";
import { openForMigration } from "../src/infra/postgres/migrate.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
let failed = 0;

/** Runs a program. Returns its output when it fails, undefined when it succeeds. */
function run(command: string, ...args: string[]): string | undefined {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  return status === 0
    ? undefined
    : `${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`.trim() || "failed";
}

/** Prints the result of a check. @param failure absent for success; "skip: ..." when the check cannot run here */
function report(name: string, failure: string | undefined): void {
  const skipped = failure?.startsWith("skip: ") === true;
  if (failure !== undefined && !skipped) failed += 1;
  process.stdout.write(`${failure === undefined ? "ok    " : skipped ? "skip  " : "FAILED"} ${name}\n`);
  if (failure !== undefined) process.stdout.write(`${failure.replace(/^/gm, "       ")}\n`);
}

function generatedCode(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "cartwright-gen-"));
  try {
    const conformance = "test/conformance";
    return (
      run("buf", "generate", "-o", folder) ??
      run("git", "diff", "--no-index", "--stat", join(folder, "gen"), "gen") ??
      run("buf", "generate", "--template", `${conformance}/buf.gen.yaml`, "-o", folder) ??
      run("git", "diff", "--no-index", "--stat", join(folder, conformance, "gen"), `${conformance}/gen`)
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function breakingChanges(): string | undefined {
  const base = ["origin/main", "main"].find(
    (ref) => run("git", "rev-parse", "--verify", "--quiet", ref) === undefined,
  );
  if (base === undefined) return "skip: there is no branch main to compare with";
  const commit = spawnSync("git", ["rev-parse", base], { cwd: root, encoding: "utf8" }).stdout.trim();
  return run("buf", "breaking", "--against", `.git#ref=${commit}`);
}

/** Reports known vulnerabilities of production dependencies, severity high and above. Some registries have none. */
function audit(): string | undefined {
  const { stdout } = spawnSync("npm", ["audit", "--omit=dev", "--audit-level=high", "--json"], {
    cwd: root,
    encoding: "utf8",
    timeout: 60_000,
  });
  const report: unknown = parseJson(stdout ?? "");
  if (typeof report !== "object" || report === null || !("metadata" in report)) {
    return "skip: the configured registry does not serve audits";
  }
  return run("npm", "audit", "--omit=dev", "--audit-level=high");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function migrationSnapshot(): Promise<string | undefined> {
  const orm = await openForMigration(entities);
  try {
    return (await orm.migrator.checkSchema())
      ? "The entities differ from the last migration. Run: npm run migration -- <name>"
      : undefined;
  } finally {
    await orm.close();
  }
}

report("format and lint", run("biome", "check", "--error-on-warnings"));
report("types", run("tsc", "--noEmit"));
report("types of the client, for browsers", run("tsc", "--noEmit", "--project", "packages/client"));
report("contracts: format", run("buf", "format", "--diff", "--exit-code"));
report("contracts: lint", run("buf", "lint"));
report("contracts: no breaking change", breakingChanges());
report("generated code is up to date", generatedCode());
report("migrations are up to date", await migrationSnapshot());
report("dependencies: no known vulnerabilities", audit());
report("architecture", run("vitest", "run", "test/unit/architecture.test.ts"));
process.exitCode = failed === 0 ? 0 : 1;
