import { AsyncLocalStorage } from "node:async_hooks";
import Stripe from "stripe";
import { type GatewayCall, GatewayError } from "../payment-gateway.ts";
import { toGatewayError } from "./stripe-errors.ts";

/** The largest response that is read. A PaymentIntent has about 5 kB, a page of 100 refunds about 100 kB. */
const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;

/** Calls Stripe's API. */
export interface StripeClient {
  /**
   * Runs requests under one time limit, and ends them when the call is aborted. Requests are not repeated: the callers do
   * that, with the same idempotency keys.
   * @throws GatewayError
   */
  run<Result>(call: GatewayCall, requests: (stripe: Stripe) => Promise<Result>): Promise<Result>;
}

/**
 * Creates a client of the API version of the package.
 * @param apiUrl undefined for Stripe's own address
 */
export function createStripeClient({
  secretKey,
  apiUrl,
}: {
  secretKey: string;
  apiUrl: string | undefined;
}): StripeClient {
  const signals = new AsyncLocalStorage<AbortSignal>();
  const stripe = new Stripe(secretKey, {
    ...addressOf(apiUrl),
    maxNetworkRetries: 0,
    telemetry: false,
    httpClient: Stripe.createFetchHttpClient((input, init) => fetchLimited(input, init, signals.getStore())),
  });
  return {
    async run(call, requests) {
      const signal = AbortSignal.any([call.signal, AbortSignal.timeout(call.timeoutMs)]);
      try {
        return await signals.run(signal, () => requests(stripe));
      } catch (error) {
        throw signal.aborted ? abortError(signal.reason) : toGatewayError(error, secretKey);
      }
    },
  };
}

/** Returns the reason of an abort, which the error of the package does not contain. */
function abortError(reason: unknown): GatewayError {
  const isTimeout = reason instanceof Error && reason.name === "TimeoutError";
  return isTimeout
    ? new GatewayError("UNKNOWN", "Stripe did not respond in time.", { code: "timeout" })
    : new GatewayError("UNKNOWN", "The call of Stripe was aborted.", { code: "aborted" });
}

function addressOf(apiUrl: string | undefined): Stripe.StripeConfig {
  if (apiUrl === undefined) return {};
  const { protocol, hostname, port } = new URL(apiUrl);
  const isPlain = protocol === "http:";
  return { host: hostname, port: port || (isPlain ? 80 : 443), protocol: isPlain ? "http" : "https" };
}

/** Fetches a response with a limited body, and does not follow redirects: they would carry the key elsewhere. */
async function fetchLimited(
  input: string | URL | Request,
  init: RequestInit | undefined,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const signals = [init?.signal, signal].filter((one) => one instanceof AbortSignal);
  const response = await fetch(input, { ...init, redirect: "error", signal: AbortSignal.any(signals) });
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_RESPONSE_BYTES) {
      throw new Error(`The response of Stripe is larger than ${MAX_RESPONSE_BYTES} bytes.`);
    }
    chunks.push(chunk);
  }
  const { status, headers } = response;
  return new Response(Buffer.concat(chunks), { status, headers });
}
