import type { Readable } from "node:stream";
import { requestStalled } from "../errors/call-errors.ts";
import type { ActiveCall } from "./active-call.ts";
import type { CallLifetime } from "./call-lifetime.ts";

/**
 * Yields the chunks of a body as they arrive, until the call is stopped.
 * @throws ConnectError when it is
 */
export async function* streamBody(
  { setup, lifetime }: ActiveCall,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  const idleTimer = startIdleTimer(lifetime, setup.bodyIdleMs, setup.timeoutMs);
  try {
    for (;;) {
      idleTimer?.refresh();
      const chunk = await lifetime.awaitRequest(chunks.next());
      if (chunk.done === true) return;
      yield chunk.value;
    }
  } finally {
    clearTimeout(idleTimer);
    // Not awaited: it would wait behind a read that never ends.
    chunks.return?.().catch(ignore);
  }
}

/**
 * Reads a whole body, or as much of it as exceeds its limit.
 * @param maxBytes returns the limit, given the first chunk
 * @param onBytes called with the size of each chunk, in bytes
 * @throws ConnectError when the call is stopped before the body is complete
 */
export async function readBody(
  { setup, lifetime }: ActiveCall,
  source: Readable,
  maxBytes: (firstChunk: Buffer) => number,
  onBytes: (bytes: number) => void = ignore,
): Promise<Buffer> {
  const idleTimer = startIdleTimer(lifetime, setup.bodyIdleMs, setup.timeoutMs);
  const { promise, resolve } = Promise.withResolvers<void>();
  const chunks: Buffer[] = [];
  let size = 0;
  const onData = (chunk: Buffer) => {
    idleTimer?.refresh();
    chunks.push(chunk);
    size += chunk.length;
    onBytes(chunk.length);
    if (size <= maxBytes(chunks[0] ?? chunk)) return;
    source.off("data", onData);
    resolve();
  };
  source.on("data", onData);
  source.once("end", resolve);
  // An empty body may have ended before the listener was added.
  if (source.readableEnded) resolve();
  try {
    await lifetime.awaitRequest(promise);
    const [only] = chunks;
    return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
  } finally {
    clearTimeout(idleTimer);
    // The rest of a body that is not awaited any more is discarded.
    source.off("data", onData);
  }
}

/** Starts the timer that stops a call whose body stalls; none when the deadline is sooner. */
function startIdleTimer(
  lifetime: CallLifetime,
  bodyIdleMs: number,
  timeoutMs: number,
): NodeJS.Timeout | undefined {
  return timeoutMs > bodyIdleMs ? setTimeout(stopIfStalled, bodyIdleMs, lifetime) : undefined;
}

function stopIfStalled(lifetime: CallLifetime): void {
  // The caller is not at fault when the handler is slow to read what has arrived.
  if (lifetime.isAwaitingRequest) lifetime.stop(requestStalled());
}

function ignore(): void {}
