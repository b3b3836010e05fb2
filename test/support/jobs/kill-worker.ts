import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("stalled-worker.ts", import.meta.url));

/**
 * Starts a worker process, kills it with SIGKILL once it has taken a job of a queue, and returns the data of the job.
 */
export async function killWorkerInJob(url: string, queue: string): Promise<unknown> {
  const child = spawn(process.execPath, [script, url, queue], { stdio: ["ignore", "pipe", "inherit"] });
  const [taken] = await once(child.stdout, "data");
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  return JSON.parse(String(taken));
}
