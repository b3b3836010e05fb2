import { defineConfig } from "vitest/config";

/** Tests that start several processes each: one file at a time, so that their starts do not slow each other down. */
const alone = [
  "test/e2e/cli/{admin,admin-jobs,seed}.test.ts",
  "test/e2e/{first-start,node-version,npm,process,rate-limit-replicas,worker}.test.ts",
  "test/faults/{cache-freshness,replayed-invalidation}.test.ts",
  "test/faults/jobs/jobs.test.ts",
  "test/faults/orders/{killed-postgres,model,replicas}.test.ts",
];

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: "together",
          include: ["test/**/*.test.ts"],
          exclude: [...alone, "test/long/**"],
          globalSetup: "test/support/stores/global-setup.ts",
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
          globalSetup: "test/support/stores/global-setup.ts",
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
