import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { createFakeBatches, type FakeTransaction } from "../../../support/batch-writer/fake-batches.ts";
import { settleTurns } from "../../../support/batch-writer/turns.ts";

afterEach(() => {
  vi.useRealTimers();
});

const namesOf = (transactions: readonly FakeTransaction[]) => transactions.map(({ written }) => written);

test("a call on an idle writer starts a transaction without any delay", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "performance", "Date"] });
  const { write, transactions } = createFakeBatches();
  const response = write("a");
  await nextTurn();
  expect(transactions).toHaveLength(1);
  expect(await response).toBe("a");
});

test("calls of one turn share a transaction", async () => {
  const { write, transactions } = createFakeBatches({ limits: { maxInFlight: 2 } });
  expect(await Promise.all([write("a"), write("b")])).toEqual(["a", "b"]);
  expect(namesOf(transactions)).toEqual([["a", "b"]]);
});

test("calls that arrive while a transaction runs share the next one, in the order of their arrival", async () => {
  const { write, transactions } = createFakeBatches({ hold: ["commit"] });
  const responses = [write("a")];
  await settleTurns();
  for (const name of ["b", "c", "d"]) {
    responses.push(write(name));
    await settleTurns();
  }
  expect(namesOf(transactions)).toEqual([["a"]]);
  transactions[0]?.release("commit");
  await settleTurns();
  expect(namesOf(transactions)).toEqual([["a"], ["b", "c", "d"]]);
  transactions[1]?.release("commit");
  expect(await Promise.all(responses)).toEqual(["a", "b", "c", "d"]);
});

test("the response of a call follows the commit", async () => {
  const { write, transactions, committed } = createFakeBatches({ hold: ["commit"] });
  const responded: string[] = [];
  const response = write("a").then((name) => responded.push(name));
  await settleTurns();
  expect(transactions[0]?.written).toEqual(["a"]);
  expect(responded).toEqual([]);
  transactions[0]?.release("commit");
  await response;
  expect(committed).toEqual(["a"]);
});

test("batches in flight have no key in common, and a call does not overtake an earlier one with its key", async () => {
  const { write, transactions } = createFakeBatches({ hold: ["commit"], limits: { maxInFlight: 3 } });
  const responses = [write("a", ["1"])];
  await settleTurns();
  responses.push(write("b", ["1", "2"]), write("c", ["2"]), write("d", ["3"]));
  await settleTurns();
  responses.push(write("e", ["3", "2"]), write("f", ["4"]));
  await settleTurns();
  expect(namesOf(transactions)).toEqual([["a"], ["d"], ["f"]]);
  transactions[0]?.release("commit");
  await settleTurns();
  expect(namesOf(transactions)).toEqual([["a"], ["d"], ["f"], ["b", "c"]]);
  transactions[1]?.release("commit");
  await settleTurns();
  expect(namesOf(transactions)).toHaveLength(4);
  transactions[3]?.release("commit");
  await settleTurns();
  expect(namesOf(transactions)).toEqual([["a"], ["d"], ["f"], ["b", "c"], ["e"]]);
  for (const transaction of transactions) transaction.release("commit");
  await Promise.all(responses);
});

test("a batch has at most the limits of items and keys, and an item with more keys is alone", async () => {
  const { write, transactions, writer } = createFakeBatches({ limits: { items: 3, keys: 4 } });
  const many = ["1", "2", "3", "4", "5"];
  await Promise.all([
    write("a"),
    write("b", ["1", "2"]),
    write("c", many),
    write("d"),
    write("e"),
    write("f"),
    write("g"),
  ]);
  expect(namesOf(transactions)).toEqual([["a", "b"], ["c"], ["d", "e", "f"], ["g"]]);
  expect(writer.stats()).toMatchObject({ batches: 4, items: 7, largestBatch: 3, inFlight: 0, waiting: 0 });
});

test("a full batch does not change the order of the calls behind it", async () => {
  const { write, transactions } = createFakeBatches({
    hold: ["commit"],
    limits: { maxInFlight: 2, items: 1 },
  });
  const responses = [write("a", ["1"])];
  await settleTurns();
  responses.push(write("b", ["1"]), write("c", ["1", "2"]));
  await settleTurns();
  responses.push(write("d", ["2"]));
  transactions[0]?.release("commit");
  await settleTurns();
  expect(namesOf(transactions)).toEqual([["a"], ["b"]]);
  for (let index = 1; index < 4; index += 1) {
    transactions[index]?.release("commit");
    await settleTurns();
  }
  expect(namesOf(transactions)).toEqual([["a"], ["b"], ["c"], ["d"]]);
  await Promise.all(responses);
});

test("any sequence of calls is written in arrival order for each key, by disjoint batches of bounded size", async () => {
  const keys = fc.uniqueArray(fc.constantFrom("1", "2", "3", "4", "5", "6"), { minLength: 1, maxLength: 3 });
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.record({ keys }) },
    { weight: 2, arbitrary: fc.record({ release: fc.nat(5) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { maxLength: 40 }),
      fc.integer({ min: 1, max: 3 }),
      async (actions, items) => {
        const limits = { items, keys: 6, maxInFlight: 3 };
        const { write, transactions, committed } = createFakeBatches({ hold: ["commit"], limits });
        const keysByName = new Map<string, readonly string[]>();
        const responses: Promise<string>[] = [];
        const running = () => transactions.filter(({ isOver }) => !isOver);
        for (const step of actions) {
          if ("keys" in step) {
            const name = String(keysByName.size);
            keysByName.set(name, step.keys);
            responses.push(write(name, step.keys));
          } else {
            running()[step.release]?.release("commit");
          }
          await settleTurns();
          const held = running().flatMap(({ written }) => [
            ...new Set(written.flatMap((name) => keysByName.get(name) ?? [])),
          ]);
          expect(new Set(held).size).toBe(held.length);
          expect(running().length).toBeLessThanOrEqual(3);
        }
        while (running().length > 0) {
          for (const transaction of running()) transaction.release("commit");
          await settleTurns();
        }
        expect(await Promise.all(responses)).toEqual([...keysByName.keys()]);
        for (const { written } of transactions) expect(written.length).toBeLessThanOrEqual(items);
        for (const key of ["1", "2", "3", "4", "5", "6"]) {
          const ofKey = committed.filter((name) => keysByName.get(name)?.includes(key));
          expect(ofKey).toEqual(ofKey.toSorted((a, b) => Number(a) - Number(b)));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("calls beyond the limit of waiting calls are rejected with UNAVAILABLE and a delay", async () => {
  const { write, transactions, writer } = createFakeBatches({ hold: ["commit"], limits: { waiting: 2 } });
  const responses = [write("a")];
  await settleTurns();
  responses.push(write("b"), write("c"));
  await expect(write("d")).rejects.toMatchObject({
    code: "unavailable",
    details: { reason: "DATABASE_BUSY", retryAfterMs: 1_000 },
  });
  expect(writer.stats()).toMatchObject({ inFlight: 1, waiting: 2, rejected: 1 });
  transactions[0]?.release("commit");
  await settleTurns();
  transactions[1]?.release("commit");
  expect(await Promise.all(responses)).toEqual(["a", "b", "c"]);
});

test("a call that waits too long for a batch is rejected with UNAVAILABLE, and later ones go on waiting", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const { write, transactions, writer } = createFakeBatches({ hold: ["commit"], limits: { waitMs: 100 } });
  const first = write("a");
  await settleTurns();
  const overdue = expect(write("b")).rejects.toMatchObject({ code: "unavailable" });
  await vi.advanceTimersByTimeAsync(60);
  const later = write("c");
  await vi.advanceTimersByTimeAsync(40);
  await overdue;
  expect(writer.stats()).toMatchObject({ waiting: 1, rejected: 1 });
  for (const expected of [["a"], ["c"]]) {
    transactions.at(-1)?.release("commit");
    await settleTurns();
    expect(transactions.some(({ written }) => written.join() === expected.join())).toBe(true);
  }
  transactions.at(-1)?.release("commit");
  expect(await Promise.all([first, later])).toEqual(["a", "c"]);
});
