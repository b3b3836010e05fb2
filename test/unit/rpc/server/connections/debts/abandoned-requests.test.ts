import { describe, expect, test } from "vitest";
import { isGivenUpEarly } from "../../../../../../src/rpc/server/connections/debts/abandoned-requests.ts";

const RAPID_RESET_MS = 100;

const isEarly = (elapsedMs: number, ...rawHeaders: string[]) =>
  isGivenUpEarly(
    { atMs: 1_000, responsiveMs: 500, rawHeaders },
    { atMs: 1_000 + elapsedMs, responsiveMs: 500 + elapsedMs },
    RAPID_RESET_MS,
  );

describe("a request without a timeout", () => {
  test.each([
    [0, true],
    [99, true],
    [100, false],
  ])("a request that is given up after %i ms: early is %s", (elapsedMs, expected) => {
    expect(isEarly(elapsedMs)).toBe(expected);
  });
});

describe("a request that declares a timeout", () => {
  test.each([
    ["grpc-timeout", "60m", 29, true],
    ["grpc-timeout", "60m", 30, false],
    ["Grpc-Timeout", "60000u", 30, false],
    ["connect-timeout-ms", "60", 29, true],
    ["connect-timeout-ms", "60", 30, false],
    ["connect-timeout-ms", "5000", 99, true],
    ["connect-timeout-ms", "5000", 100, false],
    // A short timeout does not make resets free.
    ["grpc-timeout", "1n", 9, true],
    ["grpc-timeout", "1n", 10, false],
    ["connect-timeout-ms", "malformed", 99, true],
  ])("a request with %s %s that is given up after %i ms: early is %s", (name, value, elapsedMs, expected) => {
    expect(isEarly(elapsedMs, ":method", "POST", name, value)).toBe(expected);
  });
});
