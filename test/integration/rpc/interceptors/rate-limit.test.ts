import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { RateLimitClass } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import type { Principal } from "../../../../src/kernel/principal.ts";
import type { Authenticate } from "../../../../src/rpc/call/authentication.ts";
import { failureOf } from "../../../support/errors.ts";
import { localProxy, startLimited } from "../../../support/limited-server.ts";
import { type FixtureOptions, post, withPolicy } from "../../../support/rpc-server.ts";

const { getProduct } = CatalogService.method;

const account = (accountId: string): Principal => ({
  kind: "account",
  accountId,
  customerId: "c",
  role: "CUSTOMER",
  sessionId: "s",
});
const service = (keyId: string): Principal => ({
  kind: "service",
  keyId,
  serviceAccount: "warehouse",
  scopes: new Set(),
});

/** Tokens say who shows them: `account-7`, `service-7`. */
const authenticate: Authenticate = (credential) => {
  const [kind, id = ""] = credential.split("-");
  if (kind === "account") return account(id);
  if (kind === "service") return service(id);
  throw wrong();
};
const wrong = () => new AppError("unauthenticated", "This token is no good.", { reason: "TOKEN_INVALID" });

/** How many of so many calls pass. */
async function passed(url: string, count: number, token?: string): Promise<number> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  let ok = 0;
  for (let index = 0; index < count; index += 1) {
    if ((await post(url, getProduct, { sku: "A" }, headers)).status === 200) ok += 1;
  }
  return ok;
}

/** A handler that finds a password to be wrong. */
const catalog = {
  getProduct: () => {
    throw wrong();
  },
};

/** GetProduct paid from the budget for passwords. */
const guarded = {
  services: [
    withPolicy(CatalogService, "GetProduct", (policy) => {
      if (policy.rateLimit !== undefined) policy.rateLimit.class = RateLimitClass.AUTH;
      return undefined;
    }),
    OrderService,
    TrackerService,
  ],
} satisfies FixtureOptions;

describe("whose budget a call is paid from", () => {
  test("without a token the address's, with one the account's ten times that, with a key a hundred times", async () => {
    const { url } = await startLimited({ READ: 2 }, { authenticate });
    expect(await passed(url, 5)).toBe(2);
    expect(await passed(url, 25, "account-1")).toBe(20);
    expect(await passed(url, 25, "account-2"), "another has their own").toBe(20);
    expect(await passed(url, 205, "service-1")).toBe(200);
  });

  test("while access is off, the address's", async () => {
    const { url } = await startLimited({ READ: 2 });
    expect(await passed(url, 5)).toBe(2);
  });

  test("for passwords the address's, and with a token or a key theirs too, which is no more", async () => {
    for (const token of [undefined, "account-1", "service-1"]) {
      const { url } = await startLimited({ AUTH: 3 }, { ...guarded, authenticate });
      expect(await passed(url, 5, token)).toBe(3);
      for (const other of [undefined, "account-2", "service-2"]) expect(await passed(url, 1, other)).toBe(0);
    }
  });

  test("for passwords one's own wherever one is, and which is the first to be spent is told", async () => {
    const options = { ...guarded, authenticate, trustedProxies: localProxy() };
    const { url } = await startLimited({ AUTH: 3 }, options);
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
    expect(await remaining("192.0.2.4", "account-1"), "refused").toBe("0");
    expect(await remaining("192.0.2.4"), "who was refused has cost their address nothing").toBe("2");
  });

  test("what one class of calls has spent is there for another", async () => {
    const { url } = await startLimited({ READ: 1, INGEST: 100 }, { authenticate });
    await passed(url, 2);
    const tracker = createClient(TrackerService, createGrpcTransport({ baseUrl: url }));
    expect(await failureOf(tracker.recordPurchase({}))).not.toMatchObject({ code: "ResourceExhausted" });
  });
});

describe("a wrong credential", () => {
  test("costs the address, until even that is not looked at any more", async () => {
    const { url } = await startLimited({ AUTH: 3 }, { authenticate });
    const statuses: number[] = [];
    for (let index = 0; index < 5; index += 1) {
      const headers = { authorization: "Bearer nonsense" };
      statuses.push((await post(url, getProduct, { sku: "A" }, headers)).status);
    }
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect(await passed(url, 1), "who shows none is not held to it").toBe(1);
    expect(await passed(url, 1, "account-1"), "nor who shows a good one").toBe(1);
  });

  test("that a handler finds costs the address once more", async () => {
    const { url } = await startLimited({ AUTH: 6 }, { ...guarded, authenticate, catalog });
    const answers: Response[] = [];
    for (let index = 0; index < 4; index += 1) answers.push(await post(url, getProduct, { sku: "A" }));
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 429]);
    expect(answers.map(({ headers }) => headers.get("ratelimit-remaining"))).toEqual(["4", "2", "0", "0"]);
  });

  test("of somebody who is signed in costs their address too", async () => {
    const { url } = await startLimited({ AUTH: 100 }, { ...guarded, authenticate, catalog });
    for (const id of ["1", "2", "3"]) await passed(url, 1, `account-${id}`);
    const answer = await post(url, getProduct, { sku: "A" });
    // Two for each, of the account's own and the last one's without: one by the gate, and one because it was wrong.
    expect(answer.headers.get("ratelimit-remaining")).toBe("92");
  });

  test.each(["TOKEN_EXPIRED", "SESSION_ENDED", "API_KEY_ENDED"])(
    "is none that was good once (%s): it costs the address what the call costs, and no guess",
    async (reason) => {
      const ended = () => {
        throw new AppError("unauthenticated", "It is over.", { reason });
      };
      const { url } = await startLimited({ READ: 2, AUTH: 1 }, { authenticate: ended });
      const call = (token?: string) =>
        post(url, getProduct, { sku: "A" }, token === undefined ? {} : { authorization: `Bearer ${token}` });
      const answers = [await call("over"), await call("over"), await call("over")];
      expect(answers.map(({ status }) => status)).toEqual([401, 401, 429]);
      expect(answers.map(({ headers }) => headers.get("ratelimit-remaining"))).toEqual(["1", "0", "0"]);
      expect(Number(answers[2]?.headers.get("retry-after"))).toBeGreaterThan(0);
      expect((await call()).status, "it is the budget of who shows nothing").toBe(429);
    },
  );

  test("that was good once costs no more than the call where a handler finds it", async () => {
    const handler = {
      getProduct: () => {
        throw new AppError("unauthenticated", "It is over.", { reason: "REFRESH_TOKEN_REUSED" });
      },
    };
    const { url } = await startLimited({ READ: 5, AUTH: 1 }, { catalog: handler });
    const answers = [1, 2, 3].map(() => post(url, getProduct, { sku: "A" }));
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([401, 401, 401]);
  });

  test("is not what somebody has who has none", async () => {
    const { url } = await startLimited({ AUTH: 1 }, { authenticate });
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

test("what nobody of a kind could pay takes all they have, and is then told from what is forbidden", async () => {
  const { url } = await startLimited({ INGEST: 50 }, { authenticate });
  const products = createClient(CatalogService, createGrpcTransport({ baseUrl: url }));
  const none = (async function* () {})();
  expect(await failureOf(products.importProducts(none))).toMatchObject({ reason: "SIGN_IN_REQUIRED" });
  expect(await failureOf(products.importProducts(none))).toMatchObject({ reason: "RATE_LIMITED" });
});
