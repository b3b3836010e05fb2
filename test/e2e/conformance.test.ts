import { describe, expect, test } from "vitest";
import { isSuiteInstalled, runSuite } from "../conformance/run-suite.ts";

describe.skipIf(!isSuiteInstalled)("connectconformance (skipped where the PATH has none)", () => {
  // `npm run test:long` runs all cases.
  test.each([
    ["basic calls in all protocols", "Basic/**/Codec:CODEC_PROTO/**/TLS:false/**", 40],
    ["errors with headers and trailers", "Duplicate Metadata/**/Codec:CODEC_PROTO/**/TLS:false/**", 40],
    [
      "messages at and above the limit",
      "Server Message Size/**/Compression:COMPRESSION_IDENTITY/TLS:false/unary/**",
      7,
    ],
    ["malformed requests by Connect", "Connect Unexpected Requests/**", 20],
    ["malformed requests by gRPC", "gRPC Unexpected Requests/**", 10],
    ["requests in another content type", "Unexpected Requests/**", 5],
  ])("%s pass", async (_what, pattern, minCases) => {
    const { failed, caseCount, report } = await runSuite([pattern]);
    expect(failed, report).toEqual([]);
    expect(caseCount).toBeGreaterThan(minCases);
  });
});
