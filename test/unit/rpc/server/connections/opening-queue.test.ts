import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { OpeningQueue } from "../../../../../src/rpc/server/connections/opening-queue.ts";

/** Pushes connections, named by their holder, and returns the names in the order in which they are opened. */
function pushAll(queue: OpeningQueue, holders: string[]): string[] {
  const opened: string[] = [];
  for (const holder of holders) queue.push(holder, () => opened.push(holder));
  return opened;
}

const many = (holder: string, count: number) => Array.from({ length: count }, () => holder);

test("few connections are opened immediately", () => {
  expect(pushAll(new OpeningQueue(), many("a", 8))).toHaveLength(8);
});

test("many connections are opened eight in each turn of the event loop", async () => {
  const opened = pushAll(new OpeningQueue(), many("a", 20));
  expect(opened).toHaveLength(8);
  const sizes: number[] = [];
  for (let turn = 0; turn < 20 && opened.length < 20; turn += 1) {
    await nextTurn();
    sizes.push(opened.length);
  }
  expect(opened).toHaveLength(20);
  expect(Math.max(...sizes.map((size, index) => size - (sizes[index - 1] ?? 8)))).toBeLessThanOrEqual(8);
});

test("the connections of a holder with few do not wait for those of a holder with many", async () => {
  const queue = new OpeningQueue();
  const opened = pushAll(queue, [...many("a", 1_000), "b", "b", "c"]);
  await expect.poll(() => opened.length).toBe(1_003);
  expect(Math.max(opened.lastIndexOf("b"), opened.lastIndexOf("c"))).toBeLessThan(50);
});

test("connections are opened immediately again when none waits", async () => {
  const queue = new OpeningQueue();
  const opened = pushAll(queue, many("a", 9));
  await expect.poll(() => opened.length).toBe(9);
  await nextTurn();
  expect(pushAll(queue, ["b"])).toEqual(["b"]);
});
