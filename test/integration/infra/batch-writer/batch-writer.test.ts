import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Call, internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { openWallets, type WalletFixture } from "../../../support/batch-writer/wallets.ts";
import {
  countBusyConnections,
  countLockWaits,
  terminateConnections,
} from "../../../support/stores/database-activity.ts";

let wallets: WalletFixture;
beforeAll(async () => {
  wallets = await openWallets();
});
beforeEach(() => wallets.reset());
afterAll(() => wallets.close());

const statusOf = (outcomes: PromiseSettledResult<unknown>[]) => outcomes.map(({ status }) => status);

test("of 200 concurrent withdrawals from a balance of 50 exactly 50 succeed, by far fewer transactions", async () => {
  const before = wallets.writer.stats().batches;
  const outcomes = await Promise.allSettled(Array.from({ length: 200 }, () => wallets.withdraw("a", 1)));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(50);
  expect(await wallets.balance("a")).toBe(0);
  expect(await wallets.countPostings()).toBe(50);
  expect(wallets.writer.stats().batches - before).toBeLessThan(50);
});

test("a withdrawal with the key of an earlier one is written once", async () => {
  const key = randomUUID();
  const results = await Promise.all(Array.from({ length: 20 }, () => wallets.withdraw("a", 1, key)));
  expect(new Set(results)).toEqual(new Set([key]));
  expect(await wallets.balance("a")).toBe(49);
});

test("an item that violates a constraint fails alone, and the others are committed", async () => {
  const outcomes = await Promise.allSettled([
    wallets.withdraw("a", 1),
    wallets.withdraw("b", 1, "not a UUID"),
    wallets.withdraw("c", 1),
  ]);
  expect(statusOf(outcomes)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect([await wallets.balance("a"), await wallets.balance("b"), await wallets.balance("c")]).toEqual([
    49, 50, 49,
  ]);
});

test("a batch with a serialization failure is repeated as a whole", async () => {
  await wallets.failFirstPostings(2);
  const results = await Promise.allSettled([wallets.withdraw("a", 1), wallets.withdraw("b", 1)]);
  expect(statusOf(results)).toEqual(["fulfilled", "fulfilled"]);
  await wallets.failFirstPostings(3);
  const failed = await Promise.allSettled([wallets.withdraw("a", 1), wallets.withdraw("b", 1)]);
  expect(failed).toMatchObject([{ reason: { code: "aborted" } }, { reason: { code: "aborted" } }]);
  await wallets.failFirstPostings(0);
  expect([await wallets.balance("a"), await wallets.balance("b")]).toEqual([49, 49]);
});

test("a batch whose connection is killed while it waits for a lock is repeated", async () => {
  await wallets.database.query("begin");
  await wallets.database.query("select from wallet where id = 'a' for update");
  const results = Promise.all([wallets.withdraw("a", 1), wallets.withdraw("b", 1)]);
  await expect.poll(() => countLockWaits(wallets.database)).toBe(1);
  await terminateConnections(wallets.database);
  await wallets.database.query("rollback");
  await results;
  expect([await wallets.balance("a"), await wallets.balance("b")]).toEqual([49, 49]);
});

test("a batch whose COMMIT was executed but got no response finds its items by their keys when it is repeated", async () => {
  wallets.loseNextCommit();
  const results = await Promise.all([wallets.withdraw("a", 1), wallets.withdraw("b", 1)]);
  expect(results).toHaveLength(2);
  expect([await wallets.balance("a"), await wallets.balance("b")]).toEqual([49, 49]);
  expect(wallets.writer.stats().repeats).toBe(1);
});

test("a call that is aborted during a lock wait is not written; the others are, on the same connection", async () => {
  await wallets.database.query("begin");
  await wallets.database.query("select from wallet where id = 'a' for update");
  const controller = new AbortController();
  const aborted = wallets.withdraw("a", 1, randomUUID(), internalCall(controller.signal));
  const other = wallets.withdraw("b", 1);
  await expect.poll(() => countLockWaits(wallets.database)).toBe(1);
  controller.abort(new AppError("deadline_exceeded", "Too late.", { reason: "DEADLINE_EXCEEDED" }));
  await expect(aborted).rejects.toMatchObject({ details: { reason: "DEADLINE_EXCEEDED" } });
  expect(await countLockWaits(wallets.database)).toBe(1);
  await wallets.database.query("rollback");
  await other;
  expect([await wallets.balance("a"), await wallets.balance("b")]).toEqual([50, 49]);
});

test("a batch whose calls are all aborted ends its statement although the row is still locked", async () => {
  await wallets.database.query("begin");
  await wallets.database.query("select from wallet where id = 'a' for update");
  const controller = new AbortController();
  const aborted = wallets.withdraw("a", 1, randomUUID(), internalCall(controller.signal));
  await expect.poll(() => countLockWaits(wallets.database)).toBe(1);
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ code: "cancelled" });
  await expect.poll(() => countBusyConnections(wallets.database)).toBe(0);
  await wallets.database.query("rollback");
  expect(await wallets.balance("a")).toBe(50);
});

test("the deadline of a call is no statement timeout of its batch", async () => {
  const call = { ...internalCall(), deadlineAtMs: performance.now() + 1 };
  expect(await wallets.withdraw("b", 1, randomUUID(), call)).toBeTypeOf("string");
});

test("a batch has a statement timeout of its own", async () => {
  const shortTimeout = await openWallets(300);
  await shortTimeout.reset();
  await shortTimeout.database.query("begin");
  await shortTimeout.database.query("select from wallet where id = 'a' for update");
  await expect(shortTimeout.withdraw("a", 1)).rejects.toMatchObject({
    details: { reason: "STATEMENT_TIMEOUT" },
  });
  await shortTimeout.database.query("rollback");
  expect(await shortTimeout.balance("a")).toBe(50);
  await shortTimeout.close();
});

test("audited calls have their entries in the batch, except those whose items fail", async () => {
  const audited = (request: string): Call => ({
    ...internalCall(),
    clientAddress: "192.0.2.1",
    principal: { kind: "account", accountId: request, customerId: "", role: "STAFF", sessionId: "" },
    audit: { role: "STAFF", method: "test/Withdraw", request },
  });
  await Promise.allSettled([
    wallets.withdraw("a", 1, randomUUID(), audited("one")),
    wallets.withdraw("a", 1_000, randomUUID(), audited("two")),
    wallets.withdraw("b", 1),
    wallets.withdraw("c", 1, randomUUID(), audited("three")),
  ]);
  const entries = await wallets.database.query<{ actor: string; request: string }>(
    "select actor, request, role, client_address from audit_entry order by id",
  );
  expect(entries).toEqual(
    ["one", "three"].map((request) => ({
      actor: `account:${request}`,
      request,
      role: "STAFF",
      client_address: "192.0.2.1",
    })),
  );
});
