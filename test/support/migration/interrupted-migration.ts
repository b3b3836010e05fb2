import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("migrate-program.ts", import.meta.url));

/**
 * Migrates a database in a process of its own and kills it at an event.
 * @param isLast returns whether the process is killed at this line of its log
 * @returns the lines of the log
 */
export async function migrateUntil(
  url: string,
  isLast: (line: string) => boolean | Promise<boolean>,
): Promise<string[]> {
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, DATABASE_URL: url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    lines.push(line);
    if (await isLast(line)) child.kill("SIGKILL");
  }
  await exited;
  return lines;
}
