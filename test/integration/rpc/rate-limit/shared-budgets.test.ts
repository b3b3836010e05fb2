import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { RateLimitClass } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { withPolicy } from "../../../support/rpc/altered-contract.ts";
import {
  type HourlyBudgets,
  startRateLimitedServer,
  trustLocalhost,
} from "../../../support/rpc/rate-limited-server.ts";
import { post } from "../../../support/rpc/rpc-clients.ts";
import type { RpcServerOptions } from "../../../support/rpc/rpc-server.ts";
import { authenticateByName } from "../../../support/rpc/token-principals.ts";

const { getProduct } = CatalogService.method;

interface TestCall {
  from: string;
  token?: string;
}

/** Starts a server that trusts X-Forwarded-For. A shared budget is four times the budget of one caller. */
async function startBehindProxy(budgets: HourlyBudgets, options: RpcServerOptions = {}): Promise<string> {
  const { url } = await startRateLimitedServer(budgets, {
    authenticate: authenticateByName,
    trustedProxies: trustLocalhost(),
    ...options,
  });
  return url;
}

/** Makes calls in turn. @returns how many passed */
async function countPassed(url: string, calls: readonly TestCall[]): Promise<number> {
  let passed = 0;
  for (const call of calls) if ((await send(url, call)).status === 200) passed += 1;
  return passed;
}

function send(url: string, { from, token }: TestCall): Promise<Response> {
  const headers: Record<string, string> = { "x-forwarded-for": from };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  return post(url, getProduct, { sku: "A" }, headers);
}

const repeat = (count: number, call: (index: number) => TestCall): TestCall[] =>
  Array.from({ length: count }, (_, index) => call(index));

/** Options whose GetProduct is of another rate limit class. */
const withClass = (rateLimitClass: RateLimitClass) =>
  ({
    services: [
      withPolicy(CatalogService, "GetProduct", (policy) => {
        if (policy.rateLimit !== undefined) policy.rateLimit.class = rateLimitClass;
        return undefined;
      }),
      OrderService,
      TrackerService,
    ],
  }) satisfies RpcServerOptions;

describe("the /64 networks of an IPv6 /48", () => {
  test("the /64 networks of an IPv6 /48 share four times the budget of one", async () => {
    const url = await startBehindProxy({ READ: 5 });
    const from = (site: number) => (index: number) => ({ from: `2001:db8:${site}:${index}::1` });
    expect(await countPassed(url, repeat(50, from(1)))).toBe(20);
    expect(await countPassed(url, repeat(10, from(2))), "another /48").toBe(10);
    const rejected = await send(url, { from: "2001:db8:1:ff::1" });
    expect(await rejected.json()).toMatchObject({
      message: expect.stringMatching(/^Rate limit exceeded: 20 reads an hour for all callers in your \/48/),
    });
  });

  test("a /64 network whose own budget is exhausted takes nothing from the others", async () => {
    const url = await startBehindProxy({ READ: 5 });
    const flood = repeat(50, () => ({ from: "2001:db8:1:1::1" }));
    expect(await countPassed(url, flood)).toBe(5);
    const others = repeat(14, (index) => ({ from: `2001:db8:1:${index + 2}::1` }));
    // The first rejection is decided by Redis together with the budget of the /48, and costs one unit of it.
    expect(await countPassed(url, others)).toBe(14);
  });

  test("IPv4 addresses share nothing", async () => {
    const url = await startBehindProxy({ READ: 5 });
    expect(
      await countPassed(
        url,
        repeat(50, (index) => ({ from: `192.0.2.${index}` })),
      ),
    ).toBe(50);
  });
});

describe("the accounts that call from one address", () => {
  test("the accounts that call from one address share four times the budget of one, elsewhere each has its own", async () => {
    const url = await startBehindProxy({ READ: 1 });
    // An account has ten units, so twenty of them would have 200.
    const from = (address: string) =>
      repeat(200, (index) => ({ from: address, token: `account-${index % 20}` }));
    expect(await countPassed(url, from("192.0.2.1"))).toBe(40);
    expect((await send(url, { from: "192.0.2.2", token: "account-21" })).status).toBe(200);
    const rejected = await send(url, { from: "192.0.2.1", token: "account-21" });
    expect(await rejected.json()).toMatchObject({
      message: expect.stringMatching(
        /^Rate limit exceeded: 40 reads an hour for all accounts at your address/,
      ),
    });
  });

  test("the accounts in an IPv6 /48 share sixteen times the budget of one", async () => {
    const url = await startBehindProxy({ READ: 1 });
    const calls = repeat(200, (index) => ({
      from: `2001:db8:1:${index}::1`,
      token: `account-${index % 40}`,
    }));
    expect(await countPassed(url, calls)).toBe(160);
  });

  test("staff and services are served when the accounts at their address have spent their budget", async () => {
    const url = await startBehindProxy({ READ: 1 });
    const accounts = repeat(45, (index) => ({ from: "192.0.2.1", token: `account-${index % 9}` }));
    expect(await countPassed(url, accounts)).toBe(40);
    for (const token of ["staff-1", "service-1", undefined]) {
      const call = token === undefined ? { from: "192.0.2.1" } : { from: "192.0.2.1", token };
      expect((await send(url, call)).status).toBe(200);
    }
  });
});

describe("calls of class REGISTER", () => {
  const register = withClass(RateLimitClass.REGISTER);

  test("calls of class REGISTER are charged to the address, signed in or not, and cost two units of AUTH", async () => {
    const url = await startBehindProxy({ REGISTER: 3, AUTH: 100 }, register);
    const calls = [
      { from: "192.0.2.1" },
      { from: "192.0.2.1", token: "account-1" },
      { from: "192.0.2.1", token: "service-1" },
      { from: "192.0.2.1", token: "account-2" },
      { from: "192.0.2.1" },
    ];
    expect(await countPassed(url, calls)).toBe(3);
    const other = await startBehindProxy({ REGISTER: 100, AUTH: 5 }, register);
    expect(
      await countPassed(
        other,
        repeat(5, () => ({ from: "192.0.2.1" })),
      ),
    ).toBe(2);
  });

  test("calls of class REGISTER share four times the budget in an IPv6 /48", async () => {
    const url = await startBehindProxy({ REGISTER: 3 }, register);
    expect(
      await countPassed(
        url,
        repeat(30, (index) => ({ from: `2001:db8:1:${index}::1` })),
      ),
    ).toBe(12);
  });
});
