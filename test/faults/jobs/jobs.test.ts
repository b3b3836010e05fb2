import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type FaultFixture, openFaultFixture } from "../../support/jobs/faults/fault-fixture.ts";
import {
  expectAllDone,
  killWorkerInJob,
  measureThroughput,
  openLongTransaction,
  repeatUnderLoad,
  terminateConnections,
} from "../../support/jobs/faults/job-faults.ts";

vi.setConfig({ testTimeout: 600_000 });

let fixture: FaultFixture;
beforeEach(async () => {
  fixture = await openFaultFixture();
});
afterEach(() => fixture.close());

test("when a worker is killed in a job, another one takes the job, and its effect happens once", async () => {
  await fixture.startWorker();
  await fixture.startWorker();
  await fixture.enqueue(100);
  await killWorkerInJob(fixture);
  const { jobs, runs } = await expectAllDone(fixture);
  expect(jobs).toBe(101);
  expect(runs).toBeGreaterThan(jobs);
});

test("when PostgreSQL is restarted, no job is lost and workers go on", async () => {
  await fixture.startWorker();
  await fixture.startWorker();
  await repeatUnderLoad(fixture, { jobs: 1_000, times: 2 }, (index) =>
    fixture.restartPostgres(index % 2 === 0 ? "kill" : "stop"),
  );
  expect((await expectAllDone(fixture)).jobs).toBeGreaterThanOrEqual(1_000);
});

test("when 50 connections are terminated, no job is lost and workers go on", async () => {
  await fixture.startWorker();
  await fixture.startWorker();
  await repeatUnderLoad(fixture, { jobs: 1_000, times: 1 }, async () => {
    expect(await terminateConnections(fixture, 50)).toBeGreaterThanOrEqual(50);
  });
  expect((await expectAllDone(fixture)).jobs).toBeGreaterThanOrEqual(1_000);
});

test("while a transaction is open, all jobs run", async () => {
  const end = await openLongTransaction(fixture);
  await measureThroughput(fixture, 1_000);
  await end();
});
