import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImportMode, ImportProductsRequestSchema } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  clientsWithToken,
  createAccount,
  type SignedInAccount,
} from "../../../support/identity/test-accounts.ts";
import { createHeader, createRows } from "../../../support/import/import-rows.ts";
import { connectHttp2, grpcStatus, openGrpc } from "../../../support/rpc-server.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

// Headers come first, and what is asked for may come long after them.
let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  admin = await createAccount(shop, "ADMIN");
});
afterAll(() => shop.close());

async function makeKey(...scopes: Scope[]): Promise<{ id: string; secret: string }> {
  const { apiKey, secret } = await admin.identity.createApiKey({
    apiKey: { serviceAccount: "warehouse", scopes },
  });
  return { id: apiKey?.id ?? "", secret };
}

test("a stream goes no further than the key that it was begun with", async () => {
  await admin.catalog.createCategory({ category: { slug: "late", name: "Late" } });
  const key = await makeKey(Scope.CATALOG_WRITE);
  const head = createHeader(ImportMode.INCREMENTAL);
  async function* messages() {
    yield create(ImportProductsRequestSchema, { ...head, rows: createRows("late", "early-", 1) });
    await sleep(300);
    await admin.identity.revokeApiKey({ id: key.id });
    await sleep(200);
    yield create(ImportProductsRequestSchema, { ...head, offset: 1n, rows: createRows("late", "late-", 5) });
  }
  expect(
    await failureOf(clientsWithToken(shop, key.secret).catalog.importProducts(messages())),
  ).toMatchObject({
    code: "Unauthenticated",
  });
  const late = await shop.database.query("select from product where sku like 'late-%'");
  expect(late).toEqual([]);
});

test("a body that is held back until its session has ended is refused", async () => {
  const ann = await createAccount(shop);
  const session = connectHttp2(shop.url);
  const stream = openGrpc(session, "/cartwright.identity.v1.IdentityService/GetMe", {
    authorization: `Bearer ${ann.accessToken}`,
  });
  await sleep(300);
  await ann.identity.signOut({});
  await sleep(200);
  // An empty message in its frame.
  stream.end(Buffer.alloc(5));
  expect(await grpcStatus(stream)).toBe("16");
});
