import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/support/global-setup.ts",
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Many tests wait more than they work: for deadlines, drains and stores that start.
    maxWorkers: 4,
    expect: { poll: { timeout: 10_000 } },
  },
});
