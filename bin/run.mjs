// Runs a TypeScript program of this repository: node bin/run.mjs src/main.ts [ARGUMENT ...]
// The scripts of package.json use it, so that missing dependencies, or a Node that cannot load TypeScript, end with a
// sentence that says what to do. It is JavaScript that Node 14 can parse.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [node, , program, ...args] = process.argv;

/** Returns what prevents the program from running here, and the remedy. */
function findObstacle() {
  if (program === undefined) return "Usage: node bin/run.mjs PROGRAM [ARGUMENT ...]";
  if (!existsSync(new URL("../node_modules/", import.meta.url))) {
    return "The dependencies are not installed. Run npm ci first: it also installs Node 26 for the scripts of this repository.";
  }
  if (!process.features.typescript) {
    return `Node ${process.version} (${node}) cannot run TypeScript: Node 22.18 or later is required, and Node 26 is tested. Run npm ci without --omit=optional, which installs Node 26 for the scripts of this repository, or install Node 26.`;
  }
  return undefined;
}

const obstacle = findObstacle();
if (obstacle === undefined) {
  const file = resolve(program);
  // The arguments are those that the program has when Node runs it directly.
  process.argv = [node, file, ...args];
  await import(pathToFileURL(file).href);
} else {
  process.stderr.write(`${obstacle}\n`);
  process.exitCode = 1;
}
