import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { type FaultFixture, openFaultFixture } from "../support/jobs/faults/fault-fixture.ts";
import {
  expectAllDone,
  type JobsOutcome,
  killWorkerInJob,
  measureThroughput,
  openLongTransaction,
  repeatUnderLoad,
  terminateConnections,
} from "../support/jobs/faults/job-faults.ts";
import { writeLongResults } from "../support/long/long-results.ts";

const KILLS = 3;
const RESTARTS = 6;
const CONNECTIONS = 50;
const JOBS = 9_000;
const LONG_TRANSACTION_JOBS = 100_000;
/** The time within which another worker takes the job of one that was killed, in milliseconds. */
const TAKE_OVER_MS = 30_000;

const rows: string[][] = [];

let fixture: FaultFixture;
beforeEach(async () => {
  fixture = await openFaultFixture();
});
afterEach(() => fixture.close());
afterAll(() => {
  const columns = [
    "fault",
    "jobs",
    "attempts",
    "lost",
    "effects that happened twice",
    "workers that exited",
    "measured",
  ];
  writeLongResults("Jobs", columns, rows);
});

const format = (value: number) => Math.round(value).toLocaleString("en");

/** Adds a row to the table. Its checks have passed, so that there are no losses. */
function record(fault: string, { jobs, runs, lost, excess }: JobsOutcome, measured: string): void {
  rows.push([fault, ...[jobs, runs, lost, excess, 0].map(format), measured]);
}

test("another worker takes the job of a worker that was killed within 30 s", async () => {
  await fixture.startWorker();
  const takeOvers: number[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    await fixture.startWorker();
    await fixture.enqueue(JOBS / KILLS);
    takeOvers.push(await killWorkerInJob(fixture));
  }
  const outcome = await expectAllDone(fixture);
  expect(outcome.runs).toBeGreaterThan(outcome.jobs);
  expect(Math.max(...takeOvers)).toBeLessThan(TAKE_OVER_MS);
  const seconds = takeOvers.map((ms) => (ms / 1_000).toFixed(1)).join(", ");
  record(`a worker is killed in a job, ${KILLS} times`, outcome, `taken after ${seconds} s`);
});

test("workers go on when PostgreSQL is restarted", async () => {
  await fixture.startWorker();
  await fixture.startWorker();
  await repeatUnderLoad(fixture, { jobs: JOBS, times: RESTARTS }, (index) =>
    fixture.restartPostgres(index % 2 === 0 ? "kill" : "stop"),
  );
  record(`PostgreSQL is killed or stopped, and started, ${RESTARTS} times`, await expectAllDone(fixture), "");
});

test("workers go on when 50 connections are terminated", async () => {
  await fixture.startWorker();
  await fixture.startWorker();
  let terminated = 0;
  await repeatUnderLoad(fixture, { jobs: JOBS, times: 1 }, async () => {
    terminated = await terminateConnections(fixture, CONNECTIONS);
  });
  record(`${terminated} connections are terminated`, await expectAllDone(fixture), "");
});

test.each([
  ["none", false],
  ["a transaction is open", true],
])("100,000 jobs run, fault: %s", async (name, isOpen) => {
  const end = isOpen ? await openLongTransaction(fixture) : async () => {};
  const { rate, outcome } = await measureThroughput(fixture, LONG_TRANSACTION_JOBS);
  await end();
  record(name, outcome, `${format(rate)} jobs a second`);
});
