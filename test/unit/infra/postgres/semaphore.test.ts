import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createSemaphore } from "../../../../src/infra/postgres/semaphore.ts";

const { signal } = new AbortController();

test("no more than its room are in at a time, in the order they came, and all get their turn", async () => {
  const gate = createSemaphore(3, 5_000, () => new Error("late"));
  let [inside, most] = [0, 0];
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      await gate.acquire(signal);
      order.push(index);
      inside += 1;
      most = Math.max(most, inside);
      await sleep(1);
      inside -= 1;
      gate.release();
    }),
  );
  expect(most).toBe(3);
  expect(order).toEqual(Array.from({ length: 50 }, (_, index) => index));
});

test("who waits too long is told, and takes no place with them", async () => {
  const gate = createSemaphore(1, 30, () => new Error("late"));
  await gate.acquire(signal);
  await expect(gate.acquire(signal)).rejects.toThrow("late");
  gate.release();
  await gate.acquire(signal);
  gate.release();
});

test("who leaves the line takes no place with them", async () => {
  const gate = createSemaphore(1, 5_000, () => new Error("late"));
  await gate.acquire(signal);
  const gone = new AbortController();
  const waiting = gate.acquire(gone.signal);
  gone.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  gate.release();
  await gate.acquire(signal);
});
