// A process that takes jobs, prints them, and never completes them.
import { openJobs } from "../../../src/infra/jobs/jobs.ts";
import { silentLog } from "../log.ts";
import { polledQueue, testQueues } from "./test-queues.ts";

const jobs = await openJobs({ url: process.argv[2] ?? "", workers: 1, log: silentLog, queues: testQueues });
await jobs.work(polledQueue, (batch) => {
  process.stdout.write(JSON.stringify(batch));
  return new Promise(() => {});
});
