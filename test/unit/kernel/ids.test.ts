import { expect, test } from "vitest";
import { createIds } from "../../../src/kernel/ids.ts";

const START_MS = 1_800_000_000_000;
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

function millisecondsOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

function isIncreasing(ids: readonly string[]): boolean {
  return ids.every((id, at) => at === 0 || (ids[at - 1] ?? "") < id);
}

test("an id is a UUIDv7 that holds the clock's time", () => {
  const id = createIds({ now: () => new Date(START_MS) })();
  expect(id).toMatch(UUID_V7);
  expect(millisecondsOf(id)).toBe(START_MS);
});

test("10,000 ids of one millisecond increase and stay within 5 ms of it", () => {
  const next = createIds({ now: () => new Date(START_MS) });
  const ids = Array.from({ length: 10_000 }, next);
  expect(isIncreasing(ids)).toBe(true);
  expect(ids.filter((id) => !UUID_V7.test(id))).toEqual([]);
  expect(new Set(ids).size).toBe(10_000);
  // A millisecond holds at least 2,048 ids; more of them take the next milliseconds.
  expect(millisecondsOf(ids.at(-1) ?? "") - START_MS).toBeLessThanOrEqual(5);
});

test("ids increase when the clock is set back", () => {
  let nowMs = START_MS;
  const next = createIds({ now: () => new Date(nowMs) });
  const before = Array.from({ length: 10 }, next);
  nowMs -= 60_000;
  const after = Array.from({ length: 10 }, next);
  nowMs += 120_000;
  const later = next();
  expect(isIncreasing([...before, ...after, later])).toBe(true);
  expect(millisecondsOf(later)).toBe(nowMs);
});

test("two processes generate different ids in the same millisecond", () => {
  const clock = { now: () => new Date(START_MS) };
  const [here, there] = [createIds(clock), createIds(clock)];
  const ids = Array.from({ length: 1_000 }, () => [here(), there()]).flat();
  expect(new Set(ids).size).toBe(2_000);
});

test("the random parts of ids differ", () => {
  const next = createIds({ now: () => new Date(START_MS) });
  const tails = Array.from({ length: 2_000 }, () => next().slice(20));
  expect(new Set(tails).size).toBe(2_000);
});
