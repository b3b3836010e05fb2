import { expect, test } from "vitest";
import { printBanner } from "../../src/banner.ts";
import { readConfig } from "../../src/config.ts";
import { silentLog } from "../support/log.ts";

/** Returns the fields that the banner logs when there is no terminal. */
function loggedFields(env: Record<string, string>, adminUrl?: string): Record<string, unknown> {
  const lines: Record<string, unknown>[] = [];
  const log = { ...silentLog, info: (fields: Record<string, unknown>) => void lines.push(fields) };
  const app = {
    url: "http://127.0.0.1:1",
    adminUrl,
    started: [],
    demo: undefined,
    failed: new Promise<void>(() => {}),
    close: async () => {},
  };
  printBanner(app, readConfig(env), log);
  return lines[0] ?? {};
}

function warnings(env: Record<string, string>): string {
  return JSON.stringify(loggedFields(env).warnings);
}

test.each(["CACHE", "LIMITS", "ACCESS"])("the banner warns that %s is off, and only then", (name) => {
  expect(warnings({ [name]: "off" })).toContain(name);
  expect(warnings({})).not.toContain(name);
});

test("the banner warns that payments move no money in the sandbox, and only then", () => {
  expect(warnings({})).toContain("PAYMENTS ARE IN THE SANDBOX");
  const databaseUrl = { DATABASE_URL: "postgres://127.0.0.1/shop" };
  expect(warnings(databaseUrl)).not.toContain("SANDBOX");
  expect(warnings({ ...databaseUrl, PAYMENT_GATEWAY: "sandbox" })).toContain("PAYMENTS ARE IN THE SANDBOX");
  expect(warnings({ PAYMENT_GATEWAY: "none" })).not.toContain("SANDBOX");
});

test("the banner shows the address of the admin port if there is one", () => {
  expect(loggedFields({}, "http://127.0.0.1:2").adminAddress).toBe("http://127.0.0.1:2");
  expect(loggedFields({}).adminAddress).toBeUndefined();
});
