// A process that takes jobs, says so, and never gets done with them.
import { openJobs } from "../../../src/infra/jobs/jobs.ts";
import { silentLog } from "../log.ts";
import { polled, told } from "./test-queues.ts";

const jobs = await openJobs({
  url: process.argv[2] ?? "",
  workers: 1,
  log: silentLog,
  queues: [polled, told],
});
await jobs.work(polled, (batch) => {
  process.stdout.write(JSON.stringify(batch));
  return new Promise(() => {});
});
