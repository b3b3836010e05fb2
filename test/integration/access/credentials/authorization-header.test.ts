import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { type ClientHttp2Stream, connect, type IncomingHttpHeaders } from "node:http2";
import { text } from "node:stream/consumers";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let ann: SignedInAccount;
let bob: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  [ann, bob] = await Promise.all([createAccount(shop), createAccount(shop)]);
});
afterAll(() => shop.close());

function post(path: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${shop.url}/cartwright.${path}`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json", ...headers },
  });
}

/** Returns the gRPC status of a raw call, or the HTTP status where there is none. */
function statusOf(stream: ClientHttp2Stream): Promise<string> {
  return new Promise((resolve, reject) => {
    let status = "";
    const readStatus = (headers: IncomingHttpHeaders) => {
      status = String(headers["grpc-status"] ?? headers[":status"] ?? status);
    };
    stream.on("response", readStatus).on("trailers", readStatus).on("error", reject).resume();
    stream.once("end", () => resolve(status));
  });
}

describe("a malformed Authorization header", () => {
  test.each([
    "Basic YWRtaW46YWRtaW4=",
    "Bearer",
    "Bearer ",
    "bearer x y",
    "Bearer ..",
    `Bearer ${"a".repeat(9_000)}`,
  ])("the header %.30s is rejected, on public methods too", async (authorization) => {
    const response = await post("catalog.v1.CatalogService/ListBrands", "{}", { authorization });
    expect(response.status).toBe(401);
  });
});

describe("two Authorization headers", () => {
  const path = "/cartwright.identity.v1.IdentityService/GetMe";
  const rawHeaders = (accounts: SignedInAccount[]) =>
    accounts.flatMap(({ accessToken }) => ["authorization", `Bearer ${accessToken}`]);

  test("two tokens that are joined by a comma are rejected", async () => {
    const authorization = `Bearer ${ann.accessToken}, Bearer ${bob.accessToken}`;
    const response = await post(path.replace("/cartwright.", ""), "{}", { authorization });
    expect(response.status).toBe(401);
  });

  test.each([
    ["unary", path, "application/json", "{}"],
    [
      "streaming",
      "/cartwright.catalog.v1.CatalogService/ImportProducts",
      "application/connect+json",
      "\0\0\0\0\u0002{}",
    ],
  ])(
    "a %s call over HTTP/1.1 with two headers is rejected, also with equal ones",
    async (_, target, type, body) => {
      for (const second of [ann, bob]) {
        const host = new URL(shop.url).host;
        const headers = ["host", host, "content-type", type, ...rawHeaders([ann, second])];
        const sent = request(`${shop.url}${target}`, { method: "POST", headers });
        sent.end(body);
        const [response]: IncomingMessage[] = await once(sent, "response");
        expect(response && (await text(response))).toContain("AUTHORIZATION_MALFORMED");
      }
    },
  );

  test.each(["application/json", "application/grpc"])(
    "an HTTP/2 call of %s with two headers is rejected, also with equal ones",
    async (type) => {
      // Lets Node's client send a header twice. In a variable, because the types of Node lack this option.
      const options = { settings: {}, strictSingleValueFields: false };
      const session = connect(shop.url, options);
      try {
        for (const second of [ann, bob]) {
          const pseudoHeaders = [":method", "POST", ":path", path, ":scheme", "http", ":authority", "shop"];
          const headers = [...pseudoHeaders, "content-type", type, ...rawHeaders([ann, second])];
          const sent = session.request(headers);
          const status = statusOf(sent);
          sent.end(type === "application/json" ? "{}" : Buffer.alloc(5));
          expect(await status).toBe(type === "application/json" ? "401" : String(Code.Unauthenticated));
        }
      } finally {
        session.destroy();
      }
    },
  );
});

test("a blocked sign-in has the header retry-after", async () => {
  const body = JSON.stringify({ email: `${ann.customerId}@example.com`, password: "wrong password" });
  const failedAttempt = () => post("identity.v1.IdentityService/SignIn", body);
  let response = await failedAttempt();
  for (let failures = 0; response.status === 401 && failures < 10; failures += 1)
    response = await failedAttempt();
  expect([response.status, await response.text()]).toEqual([429, expect.stringContaining("SIGN_IN_BACKOFF")]);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
});

test("a token in the query or in a cookie is ignored", async () => {
  const url = `${shop.url}/cartwright.identity.v1.IdentityService/GetMe?access_token=${ann.accessToken}&connect=v1&encoding=json&message={}`;
  expect((await fetch(url)).status).toBe(401);
  expect((await fetch(url, { headers: { cookie: `access_token=${ann.accessToken}` } })).status).toBe(401);
});
