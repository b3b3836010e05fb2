import { expect, test } from "vitest";
import { printBanner } from "../../src/banner.ts";
import { readConfig } from "../../src/config.ts";
import { silentLog } from "../support/log.ts";

/** Returns the warnings that the banner logs when there is no terminal. */
function warnings(env: Record<string, string>): string {
  const lines: unknown[] = [];
  const log = { ...silentLog, info: (fields: Record<string, unknown>) => void lines.push(fields.warnings) };
  const app = {
    url: "http://127.0.0.1:1",
    adminUrl: undefined,
    started: [],
    demo: undefined,
    failed: new Promise<void>(() => {}),
    close: async () => {},
  };
  printBanner(app, readConfig(env), log);
  return JSON.stringify(lines);
}

test.each(["CACHE", "LIMITS", "ACCESS"])("the banner warns that %s is off, and only then", (name) => {
  expect(warnings({ [name]: "off" })).toContain(name);
  expect(warnings({})).not.toContain(name);
});
