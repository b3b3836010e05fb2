import { expect, test } from "vitest";
import { mapConcurrent } from "../../../../src/kernel/async/map-concurrent.ts";

async function* numbers(count: number) {
  for (let number = 1; number <= count; number += 1) yield number;
}

test("mapConcurrent works on every item, and on no more than the given number at the same time", async () => {
  const done: number[] = [];
  let [running, most] = [0, 0];
  await mapConcurrent(numbers(20), 3, async (number) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise(setImmediate);
    running -= 1;
    done.push(number);
  });
  expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  expect(most).toBe(3);
});

test("when the work on an item fails, mapConcurrent starts no more items and throws once the running ones are done", async () => {
  const started: number[] = [];
  const slow = Promise.withResolvers<void>();
  let isSlowDone = false;
  const mapped = mapConcurrent(numbers(20), 2, async (number) => {
    started.push(number);
    if (number === 2) throw new Error("item 2 failed");
    await slow.promise;
    isSlowDone = true;
  });
  await new Promise(setImmediate);
  slow.resolve();
  await expect(mapped).rejects.toThrow("item 2 failed");
  expect({ started, isSlowDone }).toEqual({ started: [1, 2], isSlowDone: true });
});

test("when the source fails, mapConcurrent throws its error once the running items are done", async () => {
  const done: number[] = [];
  async function* failing() {
    yield 1;
    throw new Error("the source failed");
  }
  const work = async (number: number) => {
    await new Promise(setImmediate);
    done.push(number);
  };
  await expect(mapConcurrent(failing(), 2, work)).rejects.toThrow("the source failed");
  expect(done).toEqual([1]);
});
