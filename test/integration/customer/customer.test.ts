import { randomUUID } from "node:crypto";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Customer } from "../../../gen/cartwright/customer/v1/customer_pb.ts";
import {
  clientsOf,
  defined,
  missingId,
  protocols,
  readResourceInfo,
} from "../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

const NOT_FOUND = { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" };
const TAKEN = { code: "AlreadyExists", reason: "EMAIL_TAKEN" };
const freshEmail = () => `${randomUUID()}@example.com`;

async function make(email = freshEmail()): Promise<Customer> {
  return defined((await shop.customers.createCustomer({ customer: { email, name: "Ada" } })).customer);
}

describe.each(protocols)("over %s", (protocol) => {
  const customers = () => clientsOf(shop, protocol).customers;
  const get = async (id: string, showDeleted = false) =>
    (await customers().getCustomer({ id, showDeleted })).customer;

  test("a customer is stored as it was created, and output-only fields of the request are ignored", async () => {
    const email = `Ada.${freshEmail()}`;
    const before = Date.now();
    const { customer } = await customers().createCustomer({
      customer: {
        email,
        name: "Ada Lövelace \u{1f9ee}",
        id: missingId,
        etag: "9",
        deleteTime: { seconds: 1n },
      },
    });
    expect(customer).toMatchObject({ email, name: "Ada Lövelace \u{1f9ee}", etag: "1" });
    expect(customer?.id).not.toBe(missingId);
    expect(customer?.deleteTime).toBeUndefined();
    expect(timestampDate(defined(customer?.createTime)).getTime()).toBeGreaterThanOrEqual(before);
    expect(customer?.updateTime).toEqual(customer?.createTime);
    const id = customer?.id ?? "";
    expect(await get(id)).toEqual(customer);
    expect(await get(id.toUpperCase())).toEqual(customer);
  });

  test("an unknown customer is NOT_FOUND, and the error names it", async () => {
    expect(await failureOf(get(missingId))).toMatchObject(NOT_FOUND);
    expect(await readResourceInfo(get(missingId))).toEqual(["cartwright", "customer", missingId]);
    expect(await failureOf(customers().deleteCustomer({ id: missingId }))).toMatchObject(NOT_FOUND);
    expect(await failureOf(customers().undeleteCustomer({ id: missingId }))).toMatchObject(NOT_FOUND);
    const update = customers().updateCustomer({ customer: { id: missingId, name: "x" } });
    expect(await failureOf(update)).toMatchObject(NOT_FOUND);
  });

  test("an email is unique without regard to case", async () => {
    const email = freshEmail();
    const { id } = await make(email);
    const again = () => customers().createCustomer({ customer: { email: email.toUpperCase(), name: "B" } });
    expect(await failureOf(again())).toMatchObject(TAKEN);
    expect(await readResourceInfo(again())).toEqual(["cartwright", "customer", email.toUpperCase()]);
    const other = await make();
    const update = customers().updateCustomer({ customer: { id: other.id, email: email.toUpperCase() } });
    expect(await failureOf(update)).toMatchObject(TAKEN);
    // A customer can change the case of its own email.
    const own = await customers().updateCustomer({ customer: { id, email: email.toUpperCase() } });
    expect(own.customer).toMatchObject({ email: email.toUpperCase(), etag: "2" });
  });

  test("a deletion frees the email, and an undelete needs it to be free", async () => {
    const email = freshEmail();
    const { id, name } = await make(email);
    const { customer: deleted } = await customers().deleteCustomer({ id: id.toUpperCase() });
    expect(deleted).toMatchObject({ id, email, name, etag: "2" });
    expect(deleted?.deleteTime).toEqual(deleted?.updateTime);
    expect(await failureOf(get(id))).toMatchObject(NOT_FOUND);
    expect(await get(id, true)).toEqual(deleted);
    const successor = await make(email.toUpperCase());
    const undelete = () => customers().undeleteCustomer({ id });
    expect(await failureOf(undelete())).toMatchObject(TAKEN);
    await customers().deleteCustomer({ id: successor.id });
    const { customer: back } = await undelete();
    expect(back).toMatchObject({ id, email, etag: "3" });
    expect(back?.deleteTime).toBeUndefined();
    expect(await get(id)).toEqual(back);
    expect(await failureOf(undelete())).toMatchObject({
      code: "AlreadyExists",
      reason: "CUSTOMER_NOT_DELETED",
    });
  });

  test("a deleted customer can be neither updated nor deleted again", async () => {
    const { id } = await make();
    await customers().deleteCustomer({ id });
    expect(await failureOf(customers().updateCustomer({ customer: { id, name: "x" } }))).toMatchObject({
      code: "FailedPrecondition",
      reason: "CUSTOMER_DELETED",
      preconditions: ["DELETED"],
    });
    for (const etag of ["", "1", "2"]) {
      expect(await failureOf(customers().deleteCustomer({ id, etag }))).toMatchObject(NOT_FOUND);
    }
  });

  test("an update changes the fields of its mask or, without one, those that are not empty", async () => {
    const { id, email, createTime } = await make();
    const customer = { id: id.toUpperCase(), name: "New", email: freshEmail() };
    const masked = await customers().updateCustomer({ customer, updateMask: { paths: ["name"] } });
    expect(masked.customer).toMatchObject({ id, name: "New", email, etag: "2", createTime });
    const other = freshEmail();
    const unmasked = await customers().updateCustomer({ customer: { id, email: other } });
    expect(unmasked.customer).toMatchObject({ name: "New", email: other, etag: "3" });
    expect(await get(id)).toEqual(unmasked.customer);
  });

  test.each([
    ["no field to change", {}, [], "INVALID_FIELD", ["update_mask"]],
    ["an unknown path", { name: "x" }, ["phone"], "INVALID_FIELD", ["update_mask"]],
    ["an output-only field", { name: "x" }, ["create_time"], "INVALID_FIELD", ["update_mask"]],
    ["all fields emptied", {}, ["*"], "FIELD_REQUIRED", ["customer.email", "customer.name"]],
  ])("an update with %s is rejected", async (_, values, paths, reason, fields) => {
    const { id } = await make();
    const call = customers().updateCustomer({ customer: { id, ...values }, updateMask: { paths } });
    expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", reason, fields });
  });

  test("a stale etag is rejected, and the error holds the current one", async () => {
    const { id } = await make();
    await customers().updateCustomer({ customer: { id, etag: "1", name: "Second" } });
    const stale = { code: "Aborted", reason: "STALE_ETAG", metadata: { current_etag: "2" } };
    const update = customers().updateCustomer({ customer: { id, etag: "1", name: "x" } });
    expect(await failureOf(update)).toMatchObject(stale);
    expect(await failureOf(customers().deleteCustomer({ id, etag: "1" }))).toMatchObject(stale);
    await customers().deleteCustomer({ id, etag: "2" });
    expect(await failureOf(customers().undeleteCustomer({ id, etag: "2" }))).toMatchObject({
      ...stale,
      metadata: { current_etag: "3" },
    });
    await customers().undeleteCustomer({ id, etag: "3" });
  });

  test.each([
    ["email", { email: "no-at-sign" }],
    ["email", { email: "two@@example.com" }],
    ["email", { email: "a b@example.com" }],
    ["email", { email: `${"a".repeat(250)}@b.de` }],
    ["email", { email: "a@b.de\0" }],
    ["email", { email: "' or 1=1; --" }],
    ["name", { name: "n".repeat(201) }],
    ["name", { name: "a\0b" }],
    ["id", { id: "1" }],
    ["etag", { etag: "e".repeat(65) }],
  ])("an invalid %s is rejected, as in %o", async (field, wrong) => {
    const customer = { email: freshEmail(), name: "x", ...wrong };
    expect(await failureOf(customers().createCustomer({ customer }))).toMatchObject({
      code: "InvalidArgument",
      fields: [`customer.${field}`],
    });
  });

  test.each(["  ", "\t\n", "\u3000\u00a0", "\u200b\u2060", "\u3164\u2800"])(
    "a name without visible characters is rejected: %j",
    async (name) => {
      const blank = { code: "InvalidArgument", fields: ["customer.name"] };
      const customer = { email: freshEmail(), name };
      expect(await failureOf(customers().createCustomer({ customer }))).toMatchObject(blank);
      const { id } = await make();
      expect(await failureOf(customers().updateCustomer({ customer: { id, name } }))).toMatchObject(blank);
      const updated = await customers().updateCustomer({ customer: { id, name: " \u{1f9ee} " } });
      expect(updated.customer?.name).toBe(" \u{1f9ee} ");
    },
  );

  test("an error names all missing fields", async () => {
    expect(await failureOf(customers().createCustomer({ customer: {} }))).toMatchObject({
      code: "InvalidArgument",
      reason: "FIELD_REQUIRED",
      fields: ["customer.email", "customer.name"],
    });
    expect(await failureOf(customers().createCustomer({}))).toMatchObject({ fields: ["customer"] });
    expect(await failureOf(customers().updateCustomer({ customer: { name: "x" } }))).toMatchObject({
      fields: ["customer.id"],
    });
    for (const id of ["", "1"]) expect(await failureOf(get(id))).toMatchObject({ fields: ["id"] });
  });

  test("a repeat with the same request_id returns the first result", async () => {
    const request = { customer: { email: freshEmail(), name: "Once" }, requestId: randomUUID() };
    const first = await customers().createCustomer(request);
    const id = first.customer?.id;
    const update = { customer: { id, name: "Twice" }, requestId: randomUUID() };
    const changed = await customers().updateCustomer(update);
    await customers().deleteCustomer({ id });
    expect(await customers().createCustomer(request)).toEqual(first);
    expect(await customers().updateCustomer(update)).toEqual(changed);
    const other = { ...request, customer: { ...request.customer, name: "Other" } };
    expect(await failureOf(customers().createCustomer(other))).toMatchObject({
      code: "InvalidArgument",
      reason: "REQUEST_ID_REUSED",
      fields: ["request_id"],
    });
  });

  test("validate_only changes nothing, and returns the errors of the call itself", async () => {
    const { id, email } = await make();
    const rows = () => shop.database.query("select * from customer order by id");
    const before = await rows();
    const free = { email: freshEmail(), name: "Free" };
    const validated = await customers().createCustomer({ customer: free, validateOnly: true });
    expect(validated.customer).toMatchObject({ ...free, etag: "1" });
    const renamed = await customers().updateCustomer({ customer: { id, name: "R" }, validateOnly: true });
    expect(renamed.customer).toMatchObject({ name: "R", etag: "2" });
    const taken = customers().createCustomer({ customer: { email, name: "T" }, validateOnly: true });
    expect(await failureOf(taken)).toMatchObject(TAKEN);
    expect(await rows()).toEqual(before);
  });
});
