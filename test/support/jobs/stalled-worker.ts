// A process that takes jobs of the queue named in its arguments, prints them, and never completes them.
import { openJobs } from "../../../src/infra/jobs/jobs.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { silentLog } from "../log.ts";
import { testQueues } from "./test-queues.ts";

const [, , url = "", name] = process.argv;
const queue = testQueues.find((one) => one.name === name);
if (queue === undefined) throw new Error(`unknown queue ${name}`);
const jobs = await openJobs({ url, workers: 1, ids: createIds(), log: silentLog, queues: testQueues });
await jobs.work(queue, ({ data }) => {
  process.stdout.write(JSON.stringify(data));
  return new Promise(() => {});
});
