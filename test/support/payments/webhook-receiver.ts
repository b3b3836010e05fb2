import { createServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";

/** A webhook that was received. */
export interface ReceivedWebhook {
  path: string | undefined;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** A server that receives webhooks on a real port. */
export interface WebhookReceiver {
  url: string;
  /** The webhooks so far, oldest first. */
  received: ReceivedWebhook[];
  /** Returns the status of the response from now on, or closes the connection without one. */
  respond: (webhook: ReceivedWebhook) => number | "CLOSE" | Promise<number | "CLOSE">;
  /** Connections that were opened so far. */
  connections: number;
  close(): Promise<void>;
}

/**
 * Starts a receiver that accepts all webhooks.
 * @param tls certificate and key in PEM; absent: without TLS
 */
export async function startWebhookReceiver(tls?: { cert: string; key: string }): Promise<WebhookReceiver> {
  const receive: RequestListener = async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const webhook = { path: request.url, headers: request.headers, body: Buffer.concat(chunks) };
    receiver.received.push(webhook);
    const status = await receiver.respond(webhook);
    if (status === "CLOSE") request.socket.destroy();
    else response.writeHead(status).end();
  };
  const server = tls === undefined ? createServer(receive) : createSecureServer(tls, receive);
  server.on("connection", () => {
    receiver.connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port }: Pick<AddressInfo, "port"> = Object(server.address());
  const receiver: WebhookReceiver = {
    url: `http${tls === undefined ? "" : "s"}://127.0.0.1:${port}`,
    received: [],
    respond: () => 200,
    connections: 0,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
