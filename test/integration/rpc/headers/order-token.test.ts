import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { Access } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { getCall } from "../../../../src/rpc/call/call-context.ts";
import { failureOf } from "../../../support/errors.ts";
import { withPolicy } from "../../../support/rpc/altered-contract.ts";
import { methodUrl, transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";
import { authenticateByName } from "../../../support/rpc/token-principals.ts";

const id = "01941f29-7c00-7003-8000-000000000001";
const services = [
  withPolicy(OrderService, "GetOrder", (policy) => {
    policy.access = Access.ORDER_TOKEN;
    return undefined;
  }),
];

/** Starts a server with access control, and records the tokens that its handler receives. */
async function startServer() {
  const tokens: string[] = [];
  const server = await startRpcServer({
    services,
    authenticate: authenticateByName,
    routes: (router) =>
      router.rpc(OrderService.method.getOrder, (_, context) => {
        tokens.push(getCall(context).orderToken);
        return {};
      }),
  });
  return { ...server, tokens };
}

describe.each(transportNames)("an order token by %s", (name) => {
  test("an anonymous call with an order token in the header reaches the handler, and one without is rejected", async () => {
    const { url, tokens } = await startServer();
    const { getOrder } = createClient(OrderService, transports(url)[name]);
    await getOrder({ id }, { headers: { "x-order-token": "abc.1.def" } });
    expect(await failureOf(getOrder({ id }))).toMatchObject({ code: "Unauthenticated" });
    await getOrder({ id }, { headers: { authorization: "Bearer account-1" } });
    expect(tokens).toEqual(["abc.1.def", ""]);
  });
});

test("an order token of any length reaches the handler truncated", async () => {
  const { url, tokens } = await startServer();
  const { getOrder } = createClient(OrderService, transports(url)["gRPC over HTTP/2"]);
  await getOrder({ id }, { headers: { "x-order-token": "a".repeat(8_000) } });
  expect(tokens).toEqual(["a".repeat(128)]);
});

test("an order token in the URL or in a cookie is ignored", async () => {
  const { url, tokens } = await startServer();
  const query = new URLSearchParams({
    connect: "v1",
    encoding: "json",
    message: JSON.stringify({ id }),
    "x-order-token": "abc",
    orderToken: "abc",
  });
  const target = `${methodUrl(url, OrderService.method.getOrder)}?${query}`;
  for (const headers of [{}, { cookie: "x-order-token=abc" }]) {
    const response = await fetch(target, { headers });
    expect([response.status, await response.text()]).toEqual([
      401,
      expect.stringContaining("SIGN_IN_REQUIRED"),
    ]);
  }
  const response = await fetch(target, { headers: { "x-order-token": "def" } });
  expect([response.status, response.headers.get("cache-control")]).toEqual([200, "no-store"]);
  expect(tokens).toEqual(["def"]);
});
