import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { createAccount, createApiKey } from "../../support/identity/test-accounts.ts";
import { importLines, startImport, writeImportFile } from "../../support/import/import-files.ts";
import { createCategorySlug } from "../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let folder: string;
let path: string;
let tokens: Record<"staff" | "customer" | "key" | "otherKey", string>;
const runAs = (token: string) =>
  startImport([path, "--url", shop.url], { CARTWRIGHT_TOKEN: token, ACCESS: undefined }).ended;
beforeAll(async () => {
  [shop, folder] = await Promise.all([
    startShop({ ACCESS: "on" }),
    mkdtemp(join(tmpdir(), "cartwright-import-access-")),
  ]);
  const [admin, staff] = [await createAccount(shop, "ADMIN"), await createAccount(shop, "STAFF")];
  const customer = await createAccount(shop);
  tokens = {
    staff: staff.accessToken,
    customer: customer.accessToken,
    key: await createApiKey(admin, Scope.CATALOG_WRITE),
    otherKey: await createApiKey(admin, Scope.ORDERS_READ),
  };
  const slug = await createCategorySlug(staff);
  path = await writeImportFile(folder, "products.ndjson", importLines("G-", 5_000, slug));
});
afterAll(async () => {
  await shop.close();
  await rm(folder, { recursive: true, force: true });
});

test.each(["customer", "otherKey"] as const)(
  "the credentials %j are rejected, and the message contains the command that creates a key",
  async (kind) => {
    const token = tokens[kind];
    const { code, out, errors } = await runAs(token);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(errors).toContain("failed: ");
    expect(errors).toContain("npm run --silent admin -- create-key --service import --scopes catalog-write");
    expect(errors).not.toContain(token);
    expect(errors).not.toMatch(/\n\s+at /);
  },
);

test("staff and a service with an API key may import, and a line break after the token is ignored", async () => {
  expect(await runAs(`${tokens.key}\n`)).toMatchObject({ code: 0, errors: "" });
  expect((await runAs(tokens.staff)).out).toMatch(/5,000 unchanged/);
});

test("an invalid token is rejected before it is sent, and not shown", async () => {
  const { code, errors } = await runAs("so secret");
  expect({ code, errors }).toMatchObject({
    code: 1,
    errors: expect.stringMatching(/^CARTWRIGHT_TOKEN is not a valid token\./),
  });
  expect(errors).not.toContain("so secret");
});
