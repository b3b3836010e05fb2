import { expect, test } from "vitest";
import {
  InvalidationThrottle,
  THROTTLE_MS,
} from "../../../../src/infra/cache/invalidation/invalidation-throttle.ts";
import { createStoppedClock } from "../../../support/cache/replica.ts";

const MAX_TAGS = 50_000;

/** A throttle on a clock that only the test advances, and the invalidations that it has sent. */
function createThrottle() {
  const clock = createStoppedClock();
  const sent: string[] = [];
  const send = ({ tag, version }: { tag: string; version: bigint }) => {
    sent.push(`${clock.monotonicMs()} ms: ${tag} ${version}`);
  };
  return { clock, sent, throttle: new InvalidationThrottle({ clock, send }) };
}

test("of 10,000 changes in 10 seconds the first is sent immediately, then one a second, and the last one always", () => {
  const { clock, sent, throttle } = createThrottle();
  for (let version = 1n; version <= 10_000n; version += 1n) {
    throttle.add({ tag: "a", version });
    clock.advance(1);
  }
  clock.advance(THROTTLE_MS);
  const expected = Array.from(
    { length: 11 },
    (_, second) => `${1_000 * second} ms: a ${1_000 * second || 1}`,
  );
  expect(sent.slice(0, 10)).toEqual(expected.slice(0, 10));
  expect(sent.slice(10)).toEqual(["10000 ms: a 10000"]);
  clock.advance(10 * THROTTLE_MS);
  expect(sent).toHaveLength(11);
  expect(throttle.pendingCount).toBe(0);
});

test("tags are throttled independently, and a change after an interval without one is sent immediately", () => {
  const { clock, sent, throttle } = createThrottle();
  throttle.add({ tag: "a", version: 1n });
  clock.advance(400);
  throttle.add({ tag: "b", version: 7n });
  throttle.add({ tag: "a", version: 2n });
  clock.advance(600);
  throttle.add({ tag: "b", version: 8n });
  clock.advance(400);
  clock.advance(THROTTLE_MS);
  throttle.add({ tag: "a", version: 3n });
  expect(sent).toEqual(["0 ms: a 1", "400 ms: b 7", "1000 ms: a 2", "1400 ms: b 8", "2400 ms: a 3"]);
});

test("a change that is added when its interval has ended is sent immediately, also if the timer is late", () => {
  const { clock, sent, throttle } = createThrottle();
  const late = createStoppedClock();
  const timers = { ...clock, schedule: late.schedule };
  const delayed = new InvalidationThrottle({
    clock: timers,
    send: ({ version }) => sent.push(`${clock.monotonicMs()} ms: ${version}`),
  });
  expect(throttle.size).toBe(0);
  delayed.add({ tag: "a", version: 1n });
  delayed.add({ tag: "a", version: 2n });
  clock.advance(1_500);
  delayed.add({ tag: "a", version: 3n });
  late.advance(10 * THROTTLE_MS);
  expect(sent).toEqual(["0 ms: 1", "1500 ms: 3"]);
});

test("no timer is set to a time that has passed, also when the interval of another tag has ended", () => {
  const clock = createStoppedClock();
  const delaysMs: number[] = [];
  const schedule = (ms: number, callback: () => void) => {
    delaysMs.push(ms);
    return clock.schedule(ms, callback);
  };
  const throttle = new InvalidationThrottle({ clock: { ...clock, schedule }, send: () => {} });
  throttle.add({ tag: "a", version: 1n });
  clock.advance(400);
  throttle.add({ tag: "b", version: 1n });
  clock.advance(900);
  throttle.add({ tag: "b", version: 2n });
  expect(delaysMs).toEqual([0]);
});

test("the highest version of the changes of an interval is sent", () => {
  const { clock, sent, throttle } = createThrottle();
  for (const version of [1n, 5n, 4n]) throttle.add({ tag: "a", version });
  clock.advance(THROTTLE_MS);
  expect(sent).toEqual(["0 ms: a 1", "1000 ms: a 5"]);
});

test("a change can be sent without a delay, and starts a new interval", () => {
  const { clock, sent, throttle } = createThrottle();
  throttle.add({ tag: "a", version: 1n });
  clock.advance(100);
  throttle.add({ tag: "a", version: 3n });
  throttle.sendNow({ tag: "a", version: 2n });
  clock.advance(900);
  throttle.add({ tag: "a", version: 4n });
  clock.advance(100);
  expect(sent).toEqual(["0 ms: a 1", "100 ms: a 3", "1100 ms: a 4"]);
});

test("flushing sends what is pending, once", () => {
  const { clock, sent, throttle } = createThrottle();
  for (const tag of ["a", "b"]) throttle.add({ tag, version: 1n });
  throttle.add({ tag: "b", version: 2n });
  throttle.flush();
  throttle.flush();
  clock.advance(10 * THROTTLE_MS);
  expect(sent).toEqual(["0 ms: a 1", "0 ms: b 1", "0 ms: b 2"]);
});

test("it remembers a bounded number of tags; the changes of the others are not delayed, and none is lost", () => {
  const { clock, sent, throttle } = createThrottle();
  const tags = Array.from({ length: 2 * MAX_TAGS }, (_, index) => `product:${index}`);
  for (const version of [1n, 2n]) {
    for (const tag of tags) {
      throttle.add({ tag, version });
      if (throttle.size > MAX_TAGS) throw new Error(`${throttle.size} tags are remembered`);
    }
  }
  clock.advance(THROTTLE_MS);
  const last = new Set(sent.filter((line) => line.endsWith(" 2")).map((line) => line.split(" ")[2]));
  expect(last.size).toBe(tags.length);
  clock.advance(THROTTLE_MS);
  throttle.add({ tag: "other", version: 1n });
  expect(throttle.size).toBe(1);
});
