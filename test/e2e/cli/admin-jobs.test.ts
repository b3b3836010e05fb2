import { expect, onTestFinished, test } from "vitest";
import { startCli } from "../../support/cli/start-cli.ts";
import { insertFailedJobs } from "../../support/jobs/failed-job-rows.ts";
import { startShop } from "../../support/shop.ts";

test("list-failed-jobs prints a line for each failed job, and retry-job puts one back", async () => {
  const shop = await startShop();
  onTestFinished(() => shop.close());
  const admin = (args: string[]) =>
    startCli("admin/main.ts", args, { DATABASE_URL: shop.database.url }).ended;
  expect(await admin(["list-failed-jobs"])).toMatchObject({
    code: 0,
    out: "",
    errors: "No jobs have failed.\n",
  });
  const [first = "", second = ""] = await insertFailedJobs(shop.database, ["gateway\ntimed out", "no route"]);
  const time = "2026-11-28T0[78]:[\\d:.]+Z";
  const line = (id: string, error: string) => `${id}  invalidation  5  ${time}  ${error}\n`;
  const listed = await admin(["list-failed-jobs", "--queue", "invalidation"]);
  expect(listed).toMatchObject({ code: 0, errors: expect.stringMatching(/^2 failed jobs: /) });
  expect(listed.out).toMatch(new RegExp(`^${line(first, "gateway timed out")}${line(second, "no route")}$`));
  expect(await admin(["list-failed-jobs", "--queue", "mail"])).toMatchObject({ code: 0, out: "" });
  expect(await admin(["retry-job", "--id", first.toUpperCase()])).toMatchObject({
    code: 0,
    out: "",
    errors: `Put job ${first} back into its queue.\n`,
  });
  // The worker of the shop completes it.
  const retry = async () => (await admin(["retry-job", "--id", first])).errors;
  await expect.poll(retry).toBe(`Not found: job ${first}.\n`);
  const audited = await shop.database.query("select from audit_entry where method = 'admin retry-job'");
  expect(audited).toHaveLength(1);
  expect(await admin(["retry-job", "--id", "1"])).toMatchObject({
    code: 1,
    errors: expect.stringContaining("list-failed-jobs"),
  });
});
