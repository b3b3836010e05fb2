import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Customer } from "../../../gen/cartwright/customer/v1/customer_pb.ts";
import { clientsOf, defined, protocols } from "../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

const freshEmail = () => `${randomUUID()}@example.com`;

async function make(email = freshEmail()): Promise<Customer> {
  return defined((await shop.customers.createCustomer({ customer: { email, name: "Ada" } })).customer);
}

describe.each(protocols)("over %s", (protocol) => {
  const customers = () => clientsOf(shop, protocol).customers;

  test("a list returns each customer once in order of creation, deleted ones on request", async () => {
    await shop.database.query("delete from customer");
    const ids: string[] = [];
    for (let at = 0; at < 7; at += 1) ids.push((await make()).id);
    const [, deletedId = "", ...otherIds] = ids;
    await customers().deleteCustomer({ id: deletedId });
    for (const [showDeleted, expected] of [
      [false, ids.filter((id) => id !== deletedId)],
      [true, ids],
    ] as const) {
      for (const pageSize of [1, 3, 0]) {
        const found: string[] = [];
        let pageToken = "";
        do {
          const page = await customers().listCustomers({ pageSize, pageToken, showDeleted });
          found.push(...page.customers.map(({ id }) => id));
          pageToken = page.nextPageToken;
        } while (pageToken !== "");
        expect(found).toEqual(expected);
      }
    }
    const { nextPageToken: pageToken } = await customers().listCustomers({ pageSize: 1 });
    for (const wrong of [
      { pageToken, showDeleted: true },
      { pageToken, email: "a@b.de" },
      { pageToken: "x" },
    ]) {
      expect(await failureOf(customers().listCustomers(wrong))).toMatchObject({
        reason: "PAGE_TOKEN_INVALID",
      });
    }
    for (const pageSize of [-1, 101]) {
      expect(await failureOf(customers().listCustomers({ pageSize }))).toMatchObject({
        fields: ["page_size"],
      });
    }
    expect(otherIds).toHaveLength(5);
  });

  test("a list by email ignores case, and includes deleted customers on request", async () => {
    const email = freshEmail();
    const former: string[] = [];
    for (let at = 0; at < 3; at += 1) {
      const { id } = await make(email);
      await customers().deleteCustomer({ id });
      former.push(id);
    }
    const { id } = await make(email);
    const list = async (showDeleted: boolean, pageToken = "") =>
      customers().listCustomers({ email: email.toUpperCase(), showDeleted, pageSize: 2, pageToken });
    expect((await list(false)).customers.map((customer) => customer.id)).toEqual([id]);
    const first = await list(true);
    const second = await list(true, first.nextPageToken);
    const ids = [...first.customers, ...second.customers].map((customer) => customer.id);
    expect(ids).toEqual([...former, id]);
    expect((await customers().listCustomers({ email: "' or 1=1 --%_" })).customers).toEqual([]);
  });
});

test("of ten concurrent customers with one email, exactly one is created", async () => {
  const taken = { code: "AlreadyExists", reason: "EMAIL_TAKEN" };
  const email = freshEmail();
  const calls = Array.from({ length: 10 }, (_, at) => {
    const customer = { email: at % 2 === 0 ? email : email.toUpperCase(), name: `Name ${at}` };
    return (at % 3 === 0 ? shop.json : shop).customers.createCustomer({ customer });
  });
  const settled = await Promise.allSettled(calls);
  const failed = calls.filter((_, at) => settled[at]?.status === "rejected");
  expect(await Promise.all(failed.map(failureOf))).toMatchObject(Array.from({ length: 9 }, () => taken));
  const found = await shop.database.query("select id from customer where lower(email) = $1", [email]);
  expect(found).toHaveLength(1);
});

test("of ten concurrent updates with one etag, exactly one succeeds; without an etag, all do", async () => {
  const { id, etag } = await make();
  const calls = Array.from({ length: 10 }, (_, at) =>
    shop.customers.updateCustomer({ customer: { id, etag, name: `Name ${at}` } }),
  );
  const settled = await Promise.allSettled(calls);
  expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const email = freshEmail();
  await Promise.all([
    shop.customers.updateCustomer({ customer: { id, name: "Both" } }),
    shop.json.customers.updateCustomer({ customer: { id, email } }),
  ]);
  const { customer } = await shop.customers.getCustomer({ id });
  expect(customer).toMatchObject({ name: "Both", email, etag: "4" });
});

test("a deletion concurrent with new customers of the same email leaves at most one customer with it", async () => {
  for (let round = 0; round < 10; round += 1) {
    const email = freshEmail();
    const { id } = await make(email);
    await Promise.allSettled([shop.customers.deleteCustomer({ id }), make(email), make(email)]);
    const live = await shop.database.query(
      "select id from customer where lower(email) = $1 and deleted_at is null",
      [email],
    );
    expect(live.length).toBeLessThanOrEqual(1);
  }
});
