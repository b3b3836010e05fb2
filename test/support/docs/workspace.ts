import { execFile, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { buildClient } from "../../../packages/client/build-client.ts";
import type { TestShop } from "../shop.ts";
import { root } from "./pages.ts";

const path = [join(root, "node_modules/.bin"), process.env.PATH, join(process.env.HOME ?? "", "go/bin")].join(
  delimiter,
);

/** The programs that a page may need and that a machine may lack. */
const TOOLS = ["buf", "curl", "go", "grpcurl", "java", "mvn", "npx", "python3"];

/** Returns the first program that commands need and that is not installed. */
export function missingTool(commands: string): string | undefined {
  const needed = TOOLS.filter((tool) => new RegExp(`(^|[\\s(/;|])${tool}\\s`, "m").test(commands));
  const missing = needed.find((tool) => !isInstalled(tool));
  if (missing !== undefined || !needed.includes("python3")) return missing;
  // Debian has venv in a package of its own.
  const { status } = spawnSync("python3", ["-c", "import ensurepip, venv"]);
  return status === 0 ? undefined : "python3-venv";
}

function isInstalled(program: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A directory in which a reader follows a page: beside a checkout. */
export interface Workspace {
  /** Writes a file of a page. The address of the documentation becomes that of the shop. */
  write(name: string, text: string): Promise<void>;
  /**
   * Runs commands with bash, with the variables that earlier ones have set.
   * @returns what they print, whatever their exit code
   */
  run(commands: string, cwd?: string): Promise<{ output: string; exitCode: number }>;
  /** Installs cartwright-client without the registry. */
  installClient(): Promise<void>;
  remove(): Promise<void>;
}

const documented = "localhost:8080";

/** Creates a workspace for one page. */
export async function createWorkspace(shop: TestShop, name: string): Promise<Workspace> {
  const parent = await mkdtemp(join(tmpdir(), "cartwright-docs-"));
  const folder = join(parent, name);
  const variables = join(parent, "variables");
  await mkdir(folder);
  await symlink(root, join(parent, "cartwright"));
  await writeFile(variables, "");
  const { host } = new URL(shop.url);
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith("npm_"));
  const env = { ...Object.fromEntries(inherited), PATH: path, PASSWORD: shop.app.demo?.password ?? "" };

  return {
    async write(name, text) {
      const file = join(folder, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text.replaceAll(documented, host));
    },
    async run(commands, cwd = folder) {
      const script = `set -a; . ${variables}\n${commands.replaceAll(documented, host)}\ncode=$?; export -p > ${variables}; exit $code`;
      const { stdout, stderr, code } = await promisify(execFile)("bash", ["-c", script], {
        cwd,
        env,
        maxBuffer: 2 ** 26,
      }).then(
        (done) => ({ ...done, code: 0 }),
        (error: { stdout: string; stderr: string; code: number }) => error,
      );
      const output = stripVTControlCharacters(`${stdout}${stderr}`).replaceAll(host, documented);
      return { output, exitCode: code };
    },
    async installClient() {
      const modules = join(folder, "node_modules");
      await buildClient(join(modules, "cartwright-client"));
      for (const scope of ["@bufbuild", "@connectrpc"]) {
        await symlink(join(root, "node_modules", scope), join(modules, scope));
      }
    },
    remove: () => rm(parent, { recursive: true, force: true }),
  };
}
