// npm run pack:client -- [folder]: builds and packs cartwright-client. The folder defaults to dist; a relative one is in
// the directory in which npm was started.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildClient } from "./build-client.ts";

const [, , argument] = process.argv;
// npm runs scripts in the directory of their package.json.
const destination =
  argument === undefined
    ? fileURLToPath(new URL("../../dist", import.meta.url))
    : resolve(process.env.INIT_CWD ?? "", argument);
const folder = mkdtempSync(join(tmpdir(), "cartwright-client-"));
try {
  await buildClient(folder);
  mkdirSync(destination, { recursive: true });
  const options = [
    "--pack-destination",
    destination,
    "--ignore-scripts",
    "--no-update-notifier",
    "--loglevel",
    "error",
  ];
  const output = execFileSync("npm", ["pack", ...options], { cwd: folder, encoding: "utf8" });
  console.log(join(destination, output.trim()));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
