import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ImportMode, ImportProductsRequestSchema } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { createHeader, createRows } from "../../../support/import/import-rows.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  admin = await createAccount(shop, "ADMIN");
});
afterAll(() => shop.close());

/** Time for which the server relies on an authentication, in milliseconds. */
const AUTHENTICATION_FRESH_MS = 100;

/** Waits until the authentication of all calls so far is no longer fresh. */
async function waitUntilAuthenticationIsOld(): Promise<void> {
  const startedAtMs = performance.now();
  await expect.poll(() => performance.now() - startedAtMs).toBeGreaterThan(AUTHENTICATION_FRESH_MS);
}

test("a stream ends when its API key is revoked before the next message", async () => {
  await admin.catalog.createCategory({ category: { slug: "late", name: "Late" } });
  const { apiKey, secret } = await admin.identity.createApiKey({
    apiKey: { serviceAccount: "warehouse", scopes: [Scope.CATALOG_WRITE] },
  });
  const sessionManager = new Http2SessionManager(shop.url);
  const transport = createGrpcTransport({
    baseUrl: shop.url,
    sessionManager,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${secret}`);
        return next(request);
      },
    ],
  });
  const catalog = createClient(CatalogService, transport);
  const header = createHeader(ImportMode.INCREMENTAL);
  async function* messages() {
    yield create(ImportProductsRequestSchema, { ...header, rows: createRows("late", "early-", 1) });
    // A later call on the same connection has completed, so the stream has passed its first authentication.
    await catalog.listBrands({});
    await admin.identity.revokeApiKey({ id: apiKey?.id });
    await waitUntilAuthenticationIsOld();
    const rows = createRows("late", "late-", 5);
    yield create(ImportProductsRequestSchema, { ...header, offset: 1n, rows });
  }
  try {
    expect(await failureOf(catalog.importProducts(messages()))).toMatchObject({ code: "Unauthenticated" });
  } finally {
    sessionManager.abort();
  }
  expect(await shop.database.query("select from product where sku like 'late-%'")).toEqual([]);
});

test("a call whose session ends before its body arrives is rejected", async () => {
  const account = await createAccount(shop);
  const session = connectHttp2(shop.url);
  const open = () =>
    openGrpc(session, "/cartwright.identity.v1.IdentityService/GetMe", {
      authorization: `Bearer ${account.accessToken}`,
    });
  const delayed = open();
  // A later call on the same connection has completed, so the delayed one has passed its first authentication.
  const complete = open();
  complete.end(envelope(new Uint8Array()));
  expect(await grpcStatus(complete)).toBe("0");
  await account.identity.signOut({});
  await waitUntilAuthenticationIsOld();
  delayed.end(envelope(new Uint8Array()));
  expect(await grpcStatus(delayed)).toBe("16");
});
