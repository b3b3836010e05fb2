import type { Request } from "../node-http.ts";

/** Why a body was not read. */
export type UnreadBody = "OVERSIZED" | "OVERDUE" | "REJECTED" | "ABORTED";

/** Limits of a body. */
export interface BodyLimits {
  maxBytes: number;
  /** Longest time until the body is complete, in milliseconds. */
  timeoutMs: number;
  /** Ends the reading of a body that cannot be held any longer. */
  rejected: AbortSignal;
  /** Called with the size of each chunk, in bytes. */
  onBytes(bytes: number): void;
}

/**
 * Reads the raw body of a request. One that states a length above the limit is not read.
 * @returns the body or why it was not read: ABORTED if the connection was closed before it was complete
 */
export function readWebhookBody(
  request: Request,
  { maxBytes, timeoutMs, rejected, onBytes }: BodyLimits,
): Promise<Buffer | UnreadBody> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return Promise.resolve("OVERSIZED");
  const chunks: Buffer[] = [];
  let size = 0;
  return new Promise((resolve) => {
    const settle = (result: Buffer | UnreadBody) => {
      clearTimeout(timer);
      rejected.removeEventListener("abort", reject);
      request.off("data", onData);
      resolve(result);
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) return settle("OVERSIZED");
      chunks.push(chunk);
      onBytes(chunk.length);
    };
    const reject = () => settle("REJECTED");
    const timer = setTimeout(() => settle("OVERDUE"), timeoutMs);
    rejected.addEventListener("abort", reject, { once: true });
    request.on("data", onData);
    request.once("end", () => settle(Buffer.concat(chunks)));
    request.once("close", () => settle("ABORTED"));
  });
}
