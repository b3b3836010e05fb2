import { expect, test } from "vitest";
import { printBanner } from "../../src/banner.ts";
import { readConfig } from "../../src/config.ts";
import { silentLog } from "../support/log.ts";

/** What the banner warns of, as it is logged where there is no terminal. */
function warnings(env: Record<string, string>): string {
  const lines: unknown[] = [];
  const log = { ...silentLog, info: (fields: Record<string, unknown>) => void lines.push(fields.warnings) };
  const app = {
    url: "http://127.0.0.1:1",
    started: [],
    demo: undefined,
    failed: new Promise<void>(() => {}),
    close: async () => {},
  };
  printBanner(app, readConfig(env), log);
  return JSON.stringify(lines);
}

test("the banner shouts that the cache is off, and only then", () => {
  expect(warnings({ CACHE: "off" })).toContain("CACHE IS OFF");
  expect(warnings({})).not.toContain("CACHE");
});
