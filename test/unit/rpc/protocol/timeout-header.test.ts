import { describe, expect, test } from "vitest";
import { consumeTimeoutHeader, hasMalformedTimeout } from "../../../../src/rpc/protocol/timeout-header.ts";

describe.each([
  ["grpc-timeout", true],
  ["connect-timeout-ms", false],
])("%s", (name, isGrpc) => {
  test.each(
    isGrpc
      ? [
          ["1H", 3_600_000],
          ["2M", 120_000],
          ["3S", 3_000],
          ["50m", 50],
          ["50000u", 50],
          ["500000n", 0.5],
          ["0n", 0],
          ["99999999H", Number.POSITIVE_INFINITY],
        ]
      : [
          ["0", 0],
          ["9999", 9_999],
          ["9999999999", Number.POSITIVE_INFINITY],
        ],
  )(
    "a timeout of %s is %d ms, and is removed so that Connect starts no timer of its own",
    (text, timeoutMs) => {
      const headers = { [name]: text };
      expect(hasMalformedTimeout(headers, isGrpc)).toBe(false);
      expect(consumeTimeoutHeader(headers, isGrpc)).toBe(timeoutMs);
      expect(headers).toEqual({});
    },
  );

  test.each(
    ["soon", "-1", "10", "123456789S", "1.5S", "99999999999", ""].filter((text) => isGrpc || text !== "10"),
  )("a timeout of %j is malformed, and stays for Connect to reject", (text) => {
    const headers = { [name]: text };
    expect(hasMalformedTimeout(headers, isGrpc)).toBe(true);
    expect(consumeTimeoutHeader(headers, isGrpc)).toBeUndefined();
    expect(headers).toEqual({ [name]: text });
  });

  test("an absent timeout header is no timeout", () => {
    expect(hasMalformedTimeout({}, isGrpc)).toBe(false);
    expect(consumeTimeoutHeader({}, isGrpc)).toBeUndefined();
  });
});
