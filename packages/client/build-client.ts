import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { compressDescriptors } from "./compress-descriptors.ts";
import { clientManifest } from "./manifest.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const programs = join(root, "node_modules/.bin");
const template = join(root, "packages/client/buf.gen.yaml");

/**
 * Builds the package `cartwright-client` in a folder: JavaScript, types and package.json. Generated code and the
 * compiler's input are in a temporary folder, so that concurrent builds do not disturb each other.
 * @throws Error with the output of buf or tsc when one of them fails
 */
export async function buildClient(folder: string): Promise<void> {
  const source = await mkdtemp(join(tmpdir(), "cartwright-client-"));
  try {
    await run("buf", "generate", "--template", template, "--output", source);
    await cp(join(root, "src/client"), join(source, "src/client"), { recursive: true });
    await cp(join(root, "packages/client/descriptor.ts"), join(source, "src/client/descriptor.ts"));
    await compressDescriptors(source);
    await symlink(join(root, "node_modules"), join(source, "node_modules"));
    const tsconfig = {
      extends: join(root, "packages/client/tsconfig.json"),
      compilerOptions: { rootDir: source, outDir: join(folder, "dist") },
      include: [],
      files: ["src/client/client.ts"],
    };
    await writeFile(join(source, "tsconfig.json"), JSON.stringify(tsconfig));
    // Node looks up the type of a module in its package.json.
    await writeFile(join(source, "package.json"), '{ "type": "module" }');
    await run("tsc", "--project", source);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "package.json"), `${JSON.stringify(clientManifest, undefined, 2)}\n`);
    await cp(join(root, "packages/client/README.md"), join(folder, "README.md"));
    await cp(join(root, "LICENSE"), join(folder, "LICENSE"));
  } finally {
    await rm(source, { recursive: true, force: true });
  }
}

async function run(program: string, ...args: string[]): Promise<void> {
  const env = { ...process.env, PATH: `${programs}:${process.env.PATH}` };
  await promisify(execFile)(program, args, { cwd: root, env }).catch(({ message, stdout }) => {
    throw new Error(`${message}${stdout}`);
  });
}
