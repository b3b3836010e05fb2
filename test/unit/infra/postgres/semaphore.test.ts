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
      await gate.enter(signal);
      order.push(index);
      inside += 1;
      most = Math.max(most, inside);
      await sleep(1);
      inside -= 1;
      gate.leave();
    }),
  );
  expect(most).toBe(3);
  expect(order).toEqual(Array.from({ length: 50 }, (_, index) => index));
});

test("who waits too long is told, and takes no place with them", async () => {
  const gate = createSemaphore(1, 30, () => new Error("late"));
  await gate.enter(signal);
  await expect(gate.enter(signal)).rejects.toThrow("late");
  gate.leave();
  await gate.enter(signal);
  gate.leave();
});

test("who leaves the line takes no place with them", async () => {
  const gate = createSemaphore(1, 5_000, () => new Error("late"));
  await gate.enter(signal);
  const gone = new AbortController();
  const waiting = gate.enter(gone.signal);
  gone.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  gate.leave();
  await gate.enter(signal);
});
