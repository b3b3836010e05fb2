import { Agent as HttpAgent, type RequestOptions, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { errorCode } from "../../../../kernel/errors.ts";

/** Posts webhooks over connections that are kept open. */
export interface WebhookClient {
  /**
   * Posts a body and returns the status of the response.
   * @throws what the connection fails with, and the reason of `signal`
   */
  post(body: Buffer, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<number>;
  close(): void;
}

/**
 * Creates a client for the server of this process. Its certificate is not verified: it is for another name than the address
 * that the process has bound.
 */
export function createWebhookClient(
  url: string,
  { maxConnections }: { maxConnections: number },
): WebhookClient {
  const target = new URL(url);
  // An address to bind such as 0.0.0.0 is all addresses.
  if (target.hostname === "0.0.0.0") target.hostname = "127.0.0.1";
  if (target.hostname === "[::]") target.hostname = "[::1]";
  const connections = { keepAlive: true, maxSockets: maxConnections };
  const isSecure = target.protocol === "https:";
  const agent = isSecure
    ? new HttpsAgent({ ...connections, rejectUnauthorized: false })
    : new HttpAgent(connections);
  const send = isSecure ? requestHttps : requestHttp;

  function postOnce(body: Buffer, options: RequestOptions): Promise<number | "STALE"> {
    return new Promise((resolve, reject) => {
      const request = send(target, options, (response) => {
        response.on("error", reject);
        response.on("end", () => resolve(response.statusCode ?? 0));
        response.resume();
      });
      request.on("error", (error) => {
        // The server has closed the connection while it was idle.
        const isStale = request.reusedSocket && errorCode(error) === "ECONNRESET";
        if (isStale) resolve("STALE");
        else reject(error);
      });
      request.end(body);
    });
  }

  return {
    async post(body, headers, signal) {
      const options = {
        method: "POST",
        agent,
        signal,
        headers: { "content-type": "application/json", "content-length": body.length, ...headers },
      };
      for (;;) {
        const status = await postOnce(body, options);
        if (status !== "STALE") return status;
      }
    },
    close() {
      agent.destroy();
    },
  };
}
