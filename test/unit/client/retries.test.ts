import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { CatalogService, createClient, errorDetails, OrderService } from "../../../src/client/client.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Creates a client of a service in memory that is unavailable for one call, and requests a delay. */
function createUnavailableOnce(retryDelayMs: number) {
  let callCount = 0;
  const listBrands = () => {
    callCount += 1;
    if (callCount > 1) return {};
    const retryInfo = { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryDelayMs) } };
    throw new ConnectError("Unavailable.", Code.Unavailable, undefined, [retryInfo]);
  };
  const { catalog } = createClient({
    baseUrl: "http://service",
    transport: ({ interceptors }) =>
      createRouterTransport((router) => void router.service(CatalogService, { listBrands }), {
        transport: { interceptors },
      }),
  });
  return { catalog, callCount: () => callCount };
}

/** The longest backoff before the first retry. */
const MAX_FIRST_BACKOFF_MS = 200;

test("a quote is retried, although it is not sent by GET", async () => {
  let callCount = 0;
  const quoteOrder = () => {
    callCount += 1;
    if (callCount > 1) return {};
    throw new ConnectError("Unavailable.", Code.Unavailable);
  };
  const { orders } = createClient({
    baseUrl: "http://service",
    transport: ({ interceptors }) =>
      createRouterTransport((router) => void router.service(OrderService, { quoteOrder }), {
        transport: { interceptors },
      }),
  });
  const quoted = orders.quoteOrder({}).then(() => callCount, errorDetails);
  await vi.advanceTimersByTimeAsync(MAX_FIRST_BACKOFF_MS);
  expect(await quoted).toBe(2);
});

describe("the delay before a retry", () => {
  test("a retry waits as long as the service requests, plus the jitter", async () => {
    const { catalog, callCount } = createUnavailableOnce(400);
    const result = catalog.listBrands({});
    await vi.advanceTimersByTimeAsync(399);
    expect(callCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(1 + MAX_FIRST_BACKOFF_MS);
    expect(callCount()).toBe(2);
    await result;
  });

  test("a delay of more than ten seconds is not waited for: the caller gets the error", async () => {
    const { catalog, callCount } = createUnavailableOnce(60_000);
    const error = await catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable, retryDelayMs: 60_000 });
    expect(callCount()).toBe(1);
  });

  test("a retry does not wait beyond the deadline", async () => {
    const { catalog, callCount } = createUnavailableOnce(5_000);
    const result = catalog.listBrands({}, { timeoutMs: 200 }).catch(errorDetails);
    await vi.advanceTimersByTimeAsync(200);
    expect(await result).toMatchObject({ code: Code.DeadlineExceeded });
    expect(callCount()).toBe(1);
  });

  test("a retry does not wait after its caller has cancelled", async () => {
    const { catalog, callCount } = createUnavailableOnce(5_000);
    const caller = new AbortController();
    const result = catalog.listBrands({}, { signal: caller.signal }).catch(errorDetails);
    await vi.advanceTimersByTimeAsync(100);
    caller.abort();
    expect(await result).toMatchObject({ code: Code.Canceled });
    expect(callCount()).toBe(1);
  });
});
