import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** The path of Chromium; undefined when the PATH has none. */
export const chromium = ["chromium", "chromium-browser", "google-chrome"]
  .flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)))
  .find(existsSync);

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  // The browser exits when this pipe closes, even if the test process is killed.
  "--remote-debugging-pipe",
];

const TIMEOUT_MS = 60_000;

/**
 * Shows a page in a headless browser until `outcome` settles, then ends the browser with all its processes.
 * @throws Error when the browser exits first, or after 60 s
 */
export async function showPage<T>(program: string, url: string, outcome: Promise<T>): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), "cartwright-chromium-"));
  // A process group, so that all processes of the browser can be ended together.
  const browser = spawn(program, [...flags, `--user-data-dir=${profile}`, url], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const ended = once(browser, "exit");
  let timer: NodeJS.Timeout | undefined;
  const failure = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("The page has posted no results.")), TIMEOUT_MS);
    ended.then(() => reject(new Error("The browser exited before the outcome.")), reject);
  });
  try {
    return await Promise.race([outcome, failure]);
  } finally {
    clearTimeout(timer);
    if (browser.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, "SIGKILL");
    await ended.catch(() => {});
    await rm(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}
