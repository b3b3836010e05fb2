import { defineConfig } from "vitest/config";

/** What holds deadlines or makes a crowd, and would fail for want of a core beside others. */
const alone = [
  "test/admin/**/*.test.ts",
  "test/faults/**/*.test.ts",
  "test/identity/session.test.ts",
  "test/identity/sign-in*.test.ts",
  "test/infra/cache/**/*.test.ts",
  "test/infra/embedded-*.test.ts",
  "test/infra/limits/faults.test.ts",
  "test/interceptors/deadline.test.ts",
  "test/limits/**/*.test.ts",
  "test/order/rush.test.ts",
  "test/process/**/*.test.ts",
  "test/seed/command.test.ts",
  "test/serving/{abuse,close,places,shed,stalls}.test.ts",
  "test/tracker/counting.test.ts",
];

export default defineConfig({
  test: {
    testTimeout: 40_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: "together",
          include: ["test/**/*.test.ts"],
          exclude: alone,
          globalSetup: "test/support/global-setup.ts",
          // Many tests wait more than they work: for drains, and for stores that start.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "alone",
          include: alone,
          globalSetup: "test/support/global-setup.ts",
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
