import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { NIL_UUID } from "../../../src/kernel/ids.ts";
import { failureOf } from "../../support/errors.ts";
import { insertFailedJobs } from "../../support/jobs/failed-job-rows.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
  await shop.database.query(
    "select pgboss.create_queue('mail', (select to_jsonb(queue) || '{\"policy\": \"standard\"}' from pgboss.queue limit 1))",
  );
});
afterEach(() => shop.database.query("delete from pgboss.job"));
afterAll(() => shop.close());

test("ListFailedJobs lists the jobs of all queues or of one, the last one to fail first, in pages", async () => {
  const ids = await insertFailedJobs(shop.database, ["one", "two", "three"]);
  const [mailId = ""] = await insertFailedJobs(shop.database, ["mail"], "mail");
  const pages: string[][] = [];
  let pageToken = "";
  do {
    const { jobs, nextPageToken } = await shop.operations.listFailedJobs({ pageSize: 2, pageToken });
    pages.push(jobs.map(({ lastError }) => lastError));
    pageToken = nextPageToken;
  } while (pageToken !== "");
  // Two have failed at the same time: the greater id comes first.
  expect(pages).toEqual([
    ["mail", "one"],
    ["two", "three"],
  ]);
  const { jobs } = await shop.operations.listFailedJobs({ queue: "mail" });
  expect(jobs).toMatchObject([{ id: mailId, queue: "mail", attempts: 5, lastError: "mail" }]);
  const [{ createTime, failTime } = {}] = jobs;
  expect(createTime && timestampDate(createTime).toISOString()).toBe("2026-11-28T07:00:00.000Z");
  expect(failTime && timestampDate(failTime).toISOString()).toBe("2026-11-28T08:00:00.000Z");
  expect((await shop.operations.listFailedJobs({ queue: "unknown" })).jobs).toEqual([]);
  const first = await shop.operations.listFailedJobs({ pageSize: 1 });
  const otherQuery = shop.operations.listFailedJobs({ queue: "mail", pageToken: first.nextPageToken });
  expect(await failureOf(otherQuery)).toMatchObject({
    code: "InvalidArgument",
    reason: "PAGE_TOKEN_INVALID",
  });
  expect(ids).toHaveLength(3);
});

test("RetryJob puts a failed job back into its queue once", async () => {
  const [id = ""] = await insertFailedJobs(shop.database, ["one", "two"]);
  await shop.operations.retryJob({ id });
  const { jobs } = await shop.operations.listFailedJobs({});
  expect(jobs.map(({ lastError }) => lastError)).toEqual(["two"]);
  const isDue = await shop.database.query(
    "select id from pgboss.job where state = 'created' and retry_count = 0 and start_after <= now()",
  );
  expect(isDue).toEqual([{ id }]);
  expect(await failureOf(shop.operations.retryJob({ id }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "JOB_NOT_FAILED",
  });
  expect(await failureOf(shop.operations.retryJob({ id: NIL_UUID }))).toMatchObject({
    code: "NotFound",
    reason: "JOB_NOT_FOUND",
  });
  expect(await failureOf(shop.operations.retryJob({ id: "1" }))).toMatchObject({ code: "InvalidArgument" });
});
