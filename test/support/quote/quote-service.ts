import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request that the quote service has received. */
export interface ReceivedQuoteRequest {
  method: string | undefined;
  authorization: string | undefined;
  body: {
    currencyCode: string;
    address: Record<string, unknown>;
    lines: { productId: string; unitPrice: number; quantity: number }[];
  };
}

/** Responds to a request. */
export type QuoteHandler = (request: ReceivedQuoteRequest, response: ServerResponse) => unknown;

/** A quote service on a real port. */
export interface QuoteService {
  url: string;
  /** The requests so far, oldest first. */
  received: ReceivedQuoteRequest[];
  /** Responds to the requests from now on. */
  handle: QuoteHandler;
  close(): Promise<void>;
}

/** Returns the response of a service that taxes each line with 1 and ships for 500 with a tax of 5. */
export function quoteFor({ body }: ReceivedQuoteRequest): object {
  return {
    currencyCode: body.currencyCode,
    taxIncluded: false,
    lineTaxes: body.lines.map(() => 1),
    shippingOptions: [
      { id: "remote", name: "Remote", price: 500, tax: 5, minDeliveryDays: 2, maxDeliveryDays: 4 },
    ],
  };
}

/** Responds with a value as JSON. */
export function respond(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(typeof value === "string" ? value : JSON.stringify(value));
}

/** Starts a quote service that responds as `quoteFor` does. */
export async function startQuoteService(): Promise<QuoteService> {
  const received: ReceivedQuoteRequest[] = [];
  const server = createServer(async (request, response) => {
    const parsed = { method: request.method, authorization: request.headers.authorization };
    const one = { ...parsed, body: JSON.parse(await readBody(request)) };
    received.push(one);
    await service.handle(one, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port }: Pick<AddressInfo, "port"> = Object(server.address());
  const service: QuoteService = {
    url: `http://127.0.0.1:${port}/quotes`,
    received,
    handle: (request, response) => respond(response, quoteFor(request)),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return service;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
