import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createFakeAccount, type FakeAccount } from "./fake-account.ts";
import { type FakeWebhook, sendWebhook, webhookOf } from "./fake-events.ts";
import { type FakeFault, type PlannedFault, takeFault } from "./fake-faults.ts";
import { createFakeIdempotency, type FakeResponse, keyInUse } from "./fake-idempotency.ts";
import { type FakeEvent, FakeStripeError, invalidRequest } from "./fake-objects.ts";
import { type FakeParams, readParams } from "./fake-params.ts";
import { type FakeOperation, findRoute, runRoute } from "./fake-routes.ts";
import { createShapeCheck, type ShapeCheck } from "./shape-check.ts";

/** A request that the fake has received. */
export interface FakeRequest {
  operation: FakeOperation;
  path: string;
  params: FakeParams;
  idempotencyKey: string | undefined;
  headers: IncomingMessage["headers"];
}

/** A server with the API of Stripe and the state of one account. */
export interface StripeFake {
  url: string;
  secretKey: string;
  webhookSecret: string;
  account: FakeAccount;
  /** Undefined without stripe-mock. */
  shapes: ShapeCheck | undefined;
  /** The requests so far, oldest first. */
  requests: FakeRequest[];
  /** Plans a fault of the next request with the operation. */
  failNext(operation: FakeOperation, fault: FakeFault): void;
  /** Forgets the idempotency keys, as Stripe does after 24 hours. */
  forgetKeys(): void;
  webhookOf(event: FakeEvent): FakeWebhook;
  /** Delivers events to this address from now on, each once. */
  deliverTo(url: string): void;
  /** Waits until all events are delivered, and returns the statuses of the responses. */
  delivered(): Promise<number[]>;
  close(): Promise<void>;
}

/** Starts the fake on a free port. */
export async function startStripeFake({
  secretKey = "sk_test_fake",
  webhookSecret = "whsec_fake",
  mockUrl,
}: {
  secretKey?: string;
  webhookSecret?: string;
  /** Address of stripe-mock, which then checks the shape of all requests and responses. */
  mockUrl?: string | undefined;
} = {}): Promise<StripeFake> {
  const planned: PlannedFault[] = [];
  const deliveries: Promise<number>[] = [];
  const idempotency = createFakeIdempotency();
  const shapes = mockUrl === undefined ? undefined : createShapeCheck(mockUrl);
  let webhookUrl: string | undefined;
  const account = createFakeAccount({
    onEvent(event) {
      if (webhookUrl !== undefined) deliveries.push(sendWebhook(webhookUrl, fake.webhookOf(event)));
    },
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? "/", "http://fake");
    const text = await readBody(request);
    const route = findRoute(request.method ?? "", pathname);
    if (request.headers.authorization !== `Bearer ${secretKey}`) {
      // Shows the whole key, unlike Stripe, so that tests see whether it is logged.
      const message = `Invalid API Key provided: ${request.headers.authorization}`;
      return send(response, toResponse(new FakeStripeError(401, { type: "invalid_request_error", message })));
    }
    if (route === undefined) {
      return send(response, toResponse(invalidRequest("resource_missing", "Unrecognized request URL.", 404)));
    }
    const shape = await shapes?.checkRequest(request, text);
    if (shape?.rejection !== undefined) return send(response, shape.rejection);
    const params = readParams(request.method === "GET" ? search : text);
    const key = request.headers["idempotency-key"]?.toString();
    const { headers } = request;
    fake.requests.push({ operation: route.operation, path: pathname, params, idempotencyKey: key, headers });
    const fault = takeFault(planned, route.operation);
    if (fault === "unavailable") return send(response, { status: 503, body: "Service Unavailable" });
    const result = respond(() =>
      idempotency.run(request.method === "POST" ? key : undefined, `${pathname}?${text}`, () => {
        if (fault === "key_in_use") throw keyInUse();
        if (fault === "rate_limited") throw invalidRequest("rate_limit", "Too many requests.", 429);
        const done = respond(() => ({ status: 200, body: runRoute(account, route, params) }));
        return fault === "error_after" ? serverError() : done;
      }),
    );
    if (shape !== undefined && result.status === 200) {
      shapes?.checkResponse(route.operation, Object(result.body), shape.sample);
    }
    respondWithFault(response, result, fault);
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.destroy(new Error(String(error))));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port }: Pick<AddressInfo, "port"> = Object(server.address());
  const fake: StripeFake = {
    url: `http://127.0.0.1:${port}`,
    secretKey,
    webhookSecret,
    account,
    shapes,
    requests: [],
    failNext: (operation, fault) => void planned.push({ operation, fault }),
    forgetKeys: () => idempotency.clear(),
    webhookOf: (event) => webhookOf(event, webhookSecret, new Date()),
    deliverTo: (url) => {
      webhookUrl = url;
    },
    delivered: () => Promise.all(deliveries),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return fake;
}

function respondWithFault(
  response: ServerResponse,
  result: FakeResponse,
  fault: FakeFault | undefined,
): void {
  if (fault === "no_response") return;
  if (fault === "disconnect_after") response.destroy();
  else send(response, fault === undefined ? result : alter(result, fault));
}

function alter(result: FakeResponse, fault: FakeFault): FakeResponse {
  switch (fault) {
    case "other_payment":
      return { ...result, body: { ...Object(result.body), ...OTHER } };
    case "invalid_json":
      return { status: 200, body: "<html>" };
    case "oversized":
      return { ...result, body: { ...Object(result.body), text: "x".repeat(5 * 1024 * 1024) } };
    default:
      return result;
  }
}

/** Fields by which a PaymentIntent or a refund belongs to another payment. */
const OTHER = {
  id: "pi_fakeother",
  payment_intent: "pi_fakeother",
  metadata: { cartwright_payment: "00000000-0000-7000-8000-00000000dead" },
};

function respond(work: () => FakeResponse): FakeResponse {
  try {
    return work();
  } catch (error) {
    if (error instanceof FakeStripeError) return toResponse(error);
    throw error;
  }
}

function toResponse({ status, body }: FakeStripeError): FakeResponse {
  return { status, body: { error: body } };
}

function serverError(): FakeResponse {
  return { status: 500, body: { error: { type: "api_error", message: "An unknown error occurred." } } };
}

function send(response: ServerResponse, { status, body, headers = {} }: FakeResponse): void {
  response.writeHead(status, { "content-type": "application/json", "request-id": "req_fake", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
