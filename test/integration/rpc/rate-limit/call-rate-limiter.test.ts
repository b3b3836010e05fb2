import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { RateLimitClass } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { failureOf } from "../../../support/errors.ts";
import { withPolicy } from "../../../support/rpc/altered-contract.ts";
import { startRateLimitedServer, trustLocalhost } from "../../../support/rpc/rate-limited-server.ts";
import { post } from "../../../support/rpc/rpc-clients.ts";
import type { RpcServerOptions } from "../../../support/rpc/rpc-server.ts";
import { authenticateByName as authenticate, invalidToken } from "../../../support/rpc/token-principals.ts";

const { getProduct } = CatalogService.method;

/** Makes calls in turn, and returns how many passed. */
async function countPassed(url: string, count: number, token?: string): Promise<number> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  let passed = 0;
  for (let index = 0; index < count; index += 1) {
    if ((await post(url, getProduct, { sku: "A" }, headers)).status === 200) passed += 1;
  }
  return passed;
}

/** A handler that rejects a credential in the message, as SignIn does. */
const rejectingCatalog = {
  getProduct: () => {
    throw invalidToken();
  },
};

/** Options whose GetProduct is of class AUTH. */
const authClass = {
  services: [
    withPolicy(CatalogService, "GetProduct", (policy) => {
      if (policy.rateLimit !== undefined) policy.rateLimit.class = RateLimitClass.AUTH;
      return undefined;
    }),
    OrderService,
    TrackerService,
  ],
} satisfies RpcServerOptions;

describe("a call is charged to", () => {
  test("a call is charged to the address without a token, to the account with ten times that, to the API key with a hundred times", async () => {
    const { url } = await startRateLimitedServer({ READ: 2 }, { authenticate });
    expect(await countPassed(url, 5)).toBe(2);
    expect(await countPassed(url, 25, "account-1")).toBe(20);
    expect(await countPassed(url, 25, "account-2"), "another account has its own").toBe(20);
    expect(await countPassed(url, 205, "service-1")).toBe(200);
  });

  test("a call is charged to the address while access control is off", async () => {
    const { url } = await startRateLimitedServer({ READ: 2 });
    expect(await countPassed(url, 5)).toBe(2);
  });

  test("a call of class AUTH is charged to the address, and to the account or key as well, whose budgets are no larger", async () => {
    for (const token of [undefined, "account-1", "service-1"]) {
      const { url } = await startRateLimitedServer({ AUTH: 3 }, { ...authClass, authenticate });
      expect(await countPassed(url, 5, token)).toBe(3);
      for (const other of [undefined, "account-2", "service-2"])
        expect(await countPassed(url, 1, other)).toBe(0);
    }
  });

  test("a call of class AUTH is charged to account and address, and the header states the budget with the least left", async () => {
    const options = { ...authClass, authenticate, trustedProxies: trustLocalhost() };
    const { url } = await startRateLimitedServer({ AUTH: 3 }, options);
    const remaining = async (address: string, token?: string) => {
      const headers: Record<string, string> = { "x-forwarded-for": address };
      if (token !== undefined) headers.authorization = `Bearer ${token}`;
      return (await post(url, getProduct, { sku: "A" }, headers)).headers.get("ratelimit-remaining");
    };
    expect(await remaining("192.0.2.1", "account-1")).toBe("2");
    expect(await remaining("192.0.2.2", "account-1"), "of the account").toBe("1");
    expect(await remaining("192.0.2.3")).toBe("2");
    expect(await remaining("192.0.2.3")).toBe("1");
    expect(await remaining("192.0.2.3", "account-2"), "of the address").toBe("0");
    expect(await remaining("192.0.2.2", "account-1")).toBe("0");
    expect(await remaining("192.0.2.4", "account-1"), "rejected").toBe("0");
    expect(await remaining("192.0.2.4"), "the rejected call was not charged to the address").toBe("2");
  });

  test("a call is charged to its own class, and other classes keep their budgets", async () => {
    const { url } = await startRateLimitedServer({ READ: 1, INGEST: 100 }, { authenticate });
    await countPassed(url, 2);
    const tracker = createClient(TrackerService, createGrpcTransport({ baseUrl: url }));
    expect(await failureOf(tracker.recordPurchase({}))).not.toMatchObject({ code: "ResourceExhausted" });
  });
});

describe("a wrong credential is charged", () => {
  test("a wrong credential is charged to the address, until credentials from there are not checked any more", async () => {
    const { url } = await startRateLimitedServer({ AUTH: 3 }, { authenticate });
    const statuses: number[] = [];
    for (let index = 0; index < 5; index += 1) {
      const headers = { authorization: "Bearer nonsense" };
      statuses.push((await post(url, getProduct, { sku: "A" }, headers)).status);
    }
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect(await countPassed(url, 1), "calls without a credential pass").toBe(1);
    expect(await countPassed(url, 1, "account-1"), "calls with a valid one pass").toBe(1);
  });

  test("a wrong credential is charged once more when a handler finds it", async () => {
    const { url } = await startRateLimitedServer(
      { AUTH: 6 },
      { ...authClass, authenticate, catalog: rejectingCatalog },
    );
    const responses: Response[] = [];
    for (let index = 0; index < 4; index += 1) responses.push(await post(url, getProduct, { sku: "A" }));
    expect(responses.map(({ status }) => status)).toEqual([401, 401, 401, 429]);
    expect(responses.map(({ headers }) => headers.get("ratelimit-remaining"))).toEqual(["4", "2", "0", "0"]);
  });

  test("a wrong credential is charged to the address of a caller who is signed in", async () => {
    const { url } = await startRateLimitedServer(
      { AUTH: 100 },
      { ...authClass, authenticate, catalog: rejectingCatalog },
    );
    for (const id of ["1", "2", "3"]) await countPassed(url, 1, `account-${id}`);
    const response = await post(url, getProduct, { sku: "A" });
    // Two of the address for each call: one by admission, and one for the wrong credential.
    expect(response.headers.get("ratelimit-remaining")).toBe("92");
  });

  test.each(["TOKEN_EXPIRED", "SESSION_ENDED", "API_KEY_ENDED"])(
    "a credential that was valid once (%s) is no failed attempt, and its address is charged for the call only",
    async (reason) => {
      const rejectAsEnded = () => {
        throw new AppError("unauthenticated", "It has ended.", { reason });
      };
      const { url } = await startRateLimitedServer({ READ: 2, AUTH: 1 }, { authenticate: rejectAsEnded });
      const call = (token?: string) =>
        post(url, getProduct, { sku: "A" }, token === undefined ? {} : { authorization: `Bearer ${token}` });
      const responses = [await call("over"), await call("over"), await call("over")];
      expect(responses.map(({ status }) => status)).toEqual([401, 401, 429]);
      expect(responses.map(({ headers }) => headers.get("ratelimit-remaining"))).toEqual(["1", "0", "0"]);
      expect(Number(responses[2]?.headers.get("retry-after"))).toBeGreaterThan(0);
      expect((await call()).status, "it is the budget of anonymous calls").toBe(429);
    },
  );

  test("a credential that was valid once is not charged when a handler finds it", async () => {
    const handler = {
      getProduct: () => {
        throw new AppError("unauthenticated", "It has ended.", { reason: "REFRESH_TOKEN_REUSED" });
      },
    };
    const { url } = await startRateLimitedServer({ READ: 5, AUTH: 1 }, { catalog: handler });
    const responses = [1, 2, 3].map(() => post(url, getProduct, { sku: "A" }));
    expect((await Promise.all(responses)).map(({ status }) => status)).toEqual([401, 401, 401]);
  });

  test("a missing credential is not charged", async () => {
    const { url } = await startRateLimitedServer({ AUTH: 1 }, { authenticate });
    const transport = createGrpcTransport({ baseUrl: url });
    const orders = createClient(OrderService, transport);
    const products = createClient(CatalogService, transport);
    for (let index = 0; index < 3; index += 1) {
      expect(await failureOf(orders.listOrders({}))).toMatchObject({ reason: "SIGN_IN_REQUIRED" });
      expect(await failureOf(products.listProducts({ showDeleted: true }))).toMatchObject({
        reason: "SIGN_IN_REQUIRED",
      });
    }
  });
});

test("a call that costs more than a caller's whole budget takes all of it, and authorization decides about it", async () => {
  const { url } = await startRateLimitedServer({ INGEST: 50 }, { authenticate });
  const products = createClient(CatalogService, createGrpcTransport({ baseUrl: url }));
  const none = (async function* () {})();
  expect(await failureOf(products.importProducts(none))).toMatchObject({ reason: "SIGN_IN_REQUIRED" });
  expect(await failureOf(products.importProducts(none))).toMatchObject({ reason: "RATE_LIMITED" });
});
