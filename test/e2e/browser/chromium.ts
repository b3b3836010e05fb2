import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** The path of Chromium, where there is one. */
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
  // The browser ends when this pipe does, even if the tests are killed with no time to clean up.
  "--remote-debugging-pipe",
];

const patienceMs = 15_000;

/**
 * Shows a page, without a window, until `outcome` settles, and ends the browser with all its processes.
 * @throws Error when the browser ends by itself or nothing comes of the page for 15 s
 */
export async function showPage<T>(program: string, url: string, outcome: Promise<T>): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), "cartwright-chromium-"));
  // A group of its own, so that its many processes can be ended together.
  const browser = spawn(program, [...flags, `--user-data-dir=${profile}`, url], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const ended = once(browser, "exit");
  let timer: NodeJS.Timeout | undefined;
  const failure = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("Nothing came of the page.")), patienceMs);
    ended.then(() => reject(new Error("The browser ended by itself.")), reject);
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
