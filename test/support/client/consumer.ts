import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import manifest from "../../../package.json" with { type: "json" };

const root = fileURLToPath(new URL("../../..", import.meta.url));
const { dependencies, devDependencies } = manifest;

/** A project outside the repository, with `cartwright-client`, TypeScript, Vite and esbuild installed from the registry. */
export interface Consumer {
  /** The path of a file of the project. */
  path(name: string): string;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Runs a program in the project.
   * @returns what it prints
   * @throws Error with its output when it fails
   */
  run(program: string, ...args: string[]): Promise<string>;
  remove(): Promise<void>;
}

/** The package.json of the project. It pins versions, so that a new release cannot change the result of the tests. */
const consumerManifest = {
  private: true,
  type: "module",
  devDependencies: { esbuild: "0.28.2", typescript: devDependencies.typescript, vite: devDependencies.vite },
  overrides: {
    "@bufbuild/protobuf": dependencies["@bufbuild/protobuf"],
    "@connectrpc/connect": dependencies["@connectrpc/connect"],
    "@connectrpc/connect-web": dependencies["@connectrpc/connect-web"],
  },
};

/** Packs the client by its npm script, started outside the checkout with a relative folder, and installs it in a new project. */
export async function createConsumer(): Promise<Consumer> {
  const parent = await mkdtemp(join(tmpdir(), "cartwright-consumer-"));
  const folder = join(parent, "project");
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith("npm_"));
  const env = Object.fromEntries(inherited);
  const run = async (cwd: string, program: string, args: readonly string[]) => {
    const { stdout } = await promisify(execFile)(program, args, { cwd, env }).catch(({ message, stdout }) =>
      Promise.reject(new Error(`${message}\n${stdout}`)),
    );
    return stdout;
  };
  await run(parent, "npm", ["--prefix", root, "run", "pack:client", "--", "project"]);
  const [tarball = ""] = await readdir(folder);
  await writeFile(join(folder, "package.json"), JSON.stringify(consumerManifest));
  await run(folder, "npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`]);
  return {
    path: (name) => join(folder, name),
    write: async (files) => {
      for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    },
    run: (program, ...args) => run(folder, program, args),
    remove: () => rm(parent, { recursive: true, force: true }),
  };
}
