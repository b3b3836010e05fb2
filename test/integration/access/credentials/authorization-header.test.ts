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

const post = (path: string, body: string, headers: Record<string, string> = {}) =>
  fetch(`${shop.url}/cartwright.${path}`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json", ...headers },
  });

/** What a call by hand ends with: gRPC's status, or else that of HTTP. */
const statusOf = (stream: ClientHttp2Stream): Promise<string> =>
  new Promise((resolve, reject) => {
    let status = "";
    const note = (headers: IncomingHttpHeaders) => {
      status = String(headers["grpc-status"] ?? headers[":status"] ?? status);
    };
    stream.on("response", note).on("trailers", note).on("error", reject).resume();
    stream.once("end", () => resolve(status));
  });
describe("API2: broken authentication", () => {
  test.each([
    "Basic YWRtaW46YWRtaW4=",
    "Bearer",
    "Bearer ",
    "bearer x y",
    "Bearer ..",
    `Bearer ${"a".repeat(9_000)}`,
  ])("%.30s is refused, on methods for everyone too", async (authorization) => {
    const response = await post("catalog.v1.CatalogService/ListBrands", "{}", { authorization });
    expect(response.status).toBe(401);
  });

  describe("two Authorization headers are refused, the same one twice as well", () => {
    const path = "/cartwright.identity.v1.IdentityService/GetMe";
    const both = (first: SignedInAccount, second: SignedInAccount) =>
      [first, second].flatMap(({ accessToken }) => ["authorization", `Bearer ${accessToken}`]);

    test("joined by a comma", async () => {
      const authorization = `Bearer ${ann.accessToken}, Bearer ${bob.accessToken}`;
      const response = await post(path.replace("/cartwright.", ""), "{}", { authorization });
      expect(response.status).toBe(401);
    });

    test.each([
      ["a call", path, "application/json", "{}"],
      [
        "a stream",
        "/cartwright.catalog.v1.CatalogService/ImportProducts",
        "application/connect+json",
        "\0\0\0\0\u0002{}",
      ],
    ])("over HTTP/1.1, of %s", async (_, target, type, body) => {
      for (const second of [ann, bob]) {
        const headers = ["host", new URL(shop.url).host, "content-type", type, ...both(ann, second)];
        const sent = request(`${shop.url}${target}`, { method: "POST", headers });
        sent.end(body);
        const [response]: IncomingMessage[] = await once(sent, "response");
        expect(response && (await text(response))).toContain("AUTHORIZATION_MALFORMED");
      }
    });

    test.each(["application/json", "application/grpc"])("over HTTP/2, of %s", async (type) => {
      // Without this Node's client refuses it by itself; its types do not know it yet.
      const lenient = { settings: {}, strictSingleValueFields: false };
      const session = connect(shop.url, lenient);
      try {
        for (const second of [ann, bob]) {
          const pseudo = [":method", "POST", ":path", path, ":scheme", "http", ":authority", "shop"];
          const sent = session.request([...pseudo, "content-type", type, ...both(ann, second)]);
          const status = statusOf(sent);
          sent.end(type === "application/json" ? "{}" : Buffer.alloc(5));
          expect(await status).toBe(type === "application/json" ? "401" : String(Code.Unauthenticated));
        }
      } finally {
        session.destroy();
      }
    });
  });

  test("who guesses passwords is told by HTTP too when the next try may be", async () => {
    const guess = () =>
      post(
        "identity.v1.IdentityService/SignIn",
        JSON.stringify({ email: `${ann.customerId}@example.com`, password: "wrong guess" }),
      );
    let response = await guess();
    for (let tries = 0; response.status === 401 && tries < 10; tries += 1) response = await guess();
    expect([response.status, await response.text()]).toEqual([
      429,
      expect.stringContaining("SIGN_IN_BACKOFF"),
    ]);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  });

  test("a token in the query or a cookie is no token", async () => {
    const url = `${shop.url}/cartwright.identity.v1.IdentityService/GetMe?access_token=${ann.accessToken}&connect=v1&encoding=json&message={}`;
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(url, { headers: { cookie: `access_token=${ann.accessToken}` } })).status).toBe(401);
  });
});
