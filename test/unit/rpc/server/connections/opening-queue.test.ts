import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { OpeningQueue } from "../../../../../src/rpc/server/connections/opening-queue.ts";
import { peerAt } from "../../../../support/rpc/fake-connection.ts";

const a = "192.0.2.1";
const b = "192.0.2.2";
const c = "192.0.2.3";

/** Pushes connections and returns their addresses in the order in which they are opened. */
function pushAll(queue: OpeningQueue, addresses: string[]): string[] {
  const opened: string[] = [];
  for (const address of addresses) queue.push(peerAt(address), () => opened.push(address));
  return opened;
}

const many = (address: string, count: number) => Array.from({ length: count }, () => address);

test("few connections are opened immediately", () => {
  expect(pushAll(new OpeningQueue(), many(a, 8))).toHaveLength(8);
});

test("many connections are opened eight in each turn of the event loop", async () => {
  const opened = pushAll(new OpeningQueue(), many(a, 20));
  expect(opened).toHaveLength(8);
  const sizes: number[] = [];
  for (let turn = 0; turn < 20 && opened.length < 20; turn += 1) {
    await nextTurn();
    sizes.push(opened.length);
  }
  expect(opened).toHaveLength(20);
  expect(Math.max(...sizes.map((size, index) => size - (sizes[index - 1] ?? 8)))).toBeLessThanOrEqual(8);
});

test("the connections of an address with few do not wait for those of an address with many", async () => {
  const queue = new OpeningQueue();
  const opened = pushAll(queue, [...many(a, 1_000), b, b, c]);
  await expect.poll(() => opened.length).toBe(1_003);
  expect(Math.max(opened.lastIndexOf(b), opened.lastIndexOf(c))).toBeLessThan(50);
});

test("addresses take turns when more of them wait than connections are opened in a turn", async () => {
  const queue = new OpeningQueue();
  const addresses = Array.from({ length: 20 }, (_, host) => `198.51.100.${host + 1}`);
  const opened = pushAll(queue, [...addresses.flatMap((address) => many(address, 50)), a]);
  await expect.poll(() => opened.length).toBe(1_001);
  expect(opened.indexOf(a)).toBeLessThan(40);
});

test("the connections of 6,000 /64 prefixes of one /48 wait for those of another network", async () => {
  const queue = new OpeningQueue();
  const ofSite = Array.from({ length: 6_000 }, (_, prefix) => `2001:db8:1:${prefix.toString(16)}::1`);
  const opened = pushAll(queue, [...ofSite, a, "2001:db8:2:1::1"]);
  await expect.poll(() => opened.length).toBe(6_002);
  expect(Math.max(opened.indexOf(a), opened.indexOf("2001:db8:2:1::1"))).toBeLessThan(20);
});

test("connections are opened immediately again when none waits", async () => {
  const queue = new OpeningQueue();
  const opened = pushAll(queue, many(a, 9));
  await expect.poll(() => opened.length).toBe(9);
  await nextTurn();
  expect(pushAll(queue, [b])).toEqual([b]);
});
