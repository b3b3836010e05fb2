import { randomUUID } from "node:crypto";
import { getEventListeners } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { upTo } from "../../../support/orders/watch/order-watcher.ts";
import { openWatchHub, sequencesOf, type WatchHub } from "../../../support/orders/watch/watch-hub.ts";
import type { HeldRead } from "../../../support/outbox/controlled-reads.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 10_000n });
});
afterAll(() => shop.close());

const openHub = (): Promise<WatchHub> => openWatchHub(shop.database.url);

async function placeOrder(): Promise<string> {
  const order = { items: [{ productId, quantity: 1n }] };
  const { order: placed } = await shop.orders.createOrder({ requestId: randomUUID(), order });
  return placed?.id ?? "";
}

/** Delivers the result of a held read, and waits for the next turn of the event loop: its watchers have it by then. */
async function deliver(held: HeldRead): Promise<void> {
  held.release();
  await nextTurn();
}

const placeOrders = (count: number) => Promise.all(Array.from({ length: count }, placeOrder));

test("one statement reads a change for 1,000 watchers of an order, which share the update", async () => {
  const { reads, changer, watch, announce } = await openHub();
  const id = await placeOrder();
  const watches = Array.from({ length: 1_000 }, () => watch(id));
  for (const one of watches) expect(sequencesOf(await one.next())).toEqual([1]);
  const { count } = reads;
  const next = watches.map((one) => one.next());
  await changer.change(id);
  announce({ orderId: id, sequence: 2 });
  const updates = await Promise.all(next);
  expect(reads.count).toBe(count + 1);
  expect(updates.slice(0, 1).map(sequencesOf)).toEqual([[2]]);
  expect(new Set(updates.map(({ value }) => value)).size).toBe(1);
});

test("changes of many orders are read in batches of 100, and so is a reread", async () => {
  const { reads, changer, watch, announce, reread } = await openHub();
  const ids = await placeOrders(150);
  const watches = ids.map((id) => watch(id));
  await Promise.all(watches.map((one) => one.next()));
  const next = watches.map((one) => one.next());
  const { count } = reads;
  for (const id of ids) await changer.change(id);
  announce(...ids.map((orderId) => ({ orderId, sequence: 2 })));
  for (const update of await Promise.all(next)) expect(sequencesOf(update)).toEqual([2]);
  expect(reads.count).toBe(count + 2);
  const further = watches.map((one) => one.next());
  for (const id of ids) await changer.change(id);
  reread();
  for (const update of await Promise.all(further)) expect(sequencesOf(update)).toEqual([3]);
  expect(reads.count).toBe(count + 4);
});

test("a watcher that has not taken its update causes no reads, and then gets all events in one", async () => {
  const { reads, changer, watch, announce } = await openHub();
  const id = await placeOrder();
  const slow = watch(id);
  await slow.next();
  const { count } = reads;
  for (const sequence of [2, 3, 4, 5]) {
    await changer.change(id);
    announce({ orderId: id, sequence });
  }
  expect(reads.count).toBe(count);
  expect(sequencesOf(await slow.next())).toEqual([2, 3, 4, 5]);
  expect(reads.count).toBe(count + 1);
});

test("changes between the first read and the wait are noticed, whether announced before or after", async () => {
  const { changer, watch, announce } = await openHub();
  const id = await placeOrder();
  const [announced, later] = [watch(id), watch(id)];
  await Promise.all([announced.next(), later.next()]);
  await changer.change(id);
  announce({ orderId: id, sequence: 2 });
  expect(sequencesOf(await announced.next())).toEqual([2]);
  // The version that another watcher has read reaches this one without an announcement.
  expect(sequencesOf(await later.next())).toEqual([2]);
});

test("a watcher that waits gets a change that only another watcher's first read has seen", async () => {
  const { changer, watch } = await openHub();
  const id = await placeOrder();
  const waiting = watch(id);
  await waiting.next();
  const next = waiting.next();
  await changer.change(id);
  expect(sequencesOf(await watch(id).next())).toEqual([1, 2]);
  expect(sequencesOf(await next)).toEqual([2]);
});

test("watchers at different sequences each get what they lack, without gaps", async () => {
  const { changer, watch, announce } = await openHub();
  const id = await placeOrder();
  for (const _ of upTo(4)) await changer.change(id);
  const watches = [0, 2, 5].map((after) => watch(id, after));
  const first = await Promise.all(watches.map((one) => one.next()));
  expect(first.map(sequencesOf)).toEqual([[1, 2, 3, 4, 5], [3, 4, 5], []]);
  await changer.change(id);
  announce({ orderId: id, sequence: 6 });
  for (const one of watches) expect(sequencesOf(await one.next())).toEqual([6]);
});

test("a history of more than 100 events comes in several updates", async () => {
  const { changer, watch, announce } = await openHub();
  const id = await placeOrder();
  const idle = watch(id);
  await idle.next();
  for (const _ of upTo(249)) await changer.change(id);
  announce({ orderId: id, sequence: 250 });
  for (const one of [watch(id), idle]) {
    const sequences: number[] = [];
    while (sequences.at(-1) !== 250) {
      const { value } = await one.next();
      expect(value?.events.length).toBeLessThanOrEqual(100);
      sequences.push(...(value?.events.map(({ sequence }) => sequence) ?? []));
    }
    expect(sequences).toEqual(upTo(250).slice(one === idle ? 1 : 0));
  }
});

test("a change that is announced during a read reaches the watchers that did not wait for it", async () => {
  const { reads, changer, watch, announce } = await openHub();
  const id = await placeOrder();
  const leaving = watch(id);
  await leaving.next();
  const cancelled = leaving.next();
  const held = reads.holdNext();
  await changer.change(id);
  announce({ orderId: id, sequence: 2 });
  await held.finished;
  const staying = watch(id);
  expect(sequencesOf(await staying.next())).toEqual([1, 2]);
  leaving.cancel();
  await expect(cancelled).rejects.toThrow();
  await changer.change(id);
  announce({ orderId: id, sequence: 3 });
  await deliver(held);
  expect(sequencesOf(await staying.next())).toEqual([3]);
});

test("changes of an order that has lost its last events are noticed", async () => {
  const { reads, changer, watch, announce, reread } = await openHub();
  const id = await placeOrder();
  await changer.change(id);
  const one = watch(id);
  expect(sequencesOf(await one.next())).toEqual([1, 2]);
  // As before the database was restored from a backup.
  announce({ orderId: id, sequence: 9 });
  reread();
  const held = reads.holdNext();
  const next = one.next();
  await held.finished;
  await deliver(held);
  await changer.change(id);
  announce({ orderId: id, sequence: 3 });
  expect(sequencesOf(await next)).toEqual([3]);
});

test("changes are read again after failed reads", async () => {
  const { reads, changer, watch, announce } = await openHub();
  const id = await placeOrder();
  const one = watch(id);
  await one.next();
  const next = one.next();
  reads.fail(2);
  await changer.change(id);
  announce({ orderId: id, sequence: 2 });
  expect(sequencesOf(await next)).toEqual([2]);
});

test("1,000 watches that were opened and cancelled leave nothing behind", async () => {
  const { watch, subscriptionCount } = await openHub();
  const ids = await placeOrders(10);
  const watches = Array.from({ length: 1_000 }, (_, index) => watch(ids[index % ids.length] ?? ""));
  await Promise.all(watches.map((one) => one.next()));
  expect(subscriptionCount()).toBe(1);
  const ends = watches.map((one) => one.next());
  expect(getEventListeners(watches[0]?.signal ?? new EventTarget(), "abort")).toHaveLength(1);
  for (const one of watches) one.cancel();
  const outcomes = await Promise.allSettled(ends);
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(["rejected"]));
  expect(subscriptionCount(), "no order has watchers").toBe(0);
  expect(watches.flatMap(({ signal }) => getEventListeners(signal, "abort"))).toEqual([]);
  // A watch that is rejected leaves nothing either.
  await expect(watch(randomUUID()).next()).rejects.toThrow("Not found");
  expect(subscriptionCount(), "no order has watchers").toBe(0);
});
