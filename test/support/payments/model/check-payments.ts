import fc from "fast-check";
import type { CaptureMethod } from "../../../../src/infra/payment/payment-gateway.ts";
import type { GatewayFault, UnreliableGateway } from "../unreliable-gateway.ts";
import { assertFollowsFacts, assertHolds, assertSettled } from "./ledger-model.ts";
import { type PaymentCommand, paymentCommands } from "./payment-commands.ts";
import type { PaymentShop, Reply, StoredOrder } from "./payment-shop.ts";

/** A shop of one run, and its gateway. */
export interface PaymentRun {
  shop: PaymentShop;
  gateway: UnreliableGateway;
  capture: CaptureMethod;
}

/**
 * What the runs of a check have reached, with the number of times: outcomes such as "refund OK", and faults that have
 * occurred, such as "fault late".
 */
export type PaymentCoverage = Record<string, number>;

export interface PaymentCheckOptions {
  seed: number;
  runs: number;
  maxCommands: number;
  openRun(): Promise<PaymentRun>;
}

/** Rounds in which all jobs must have ended: each gateway call succeeds by then. */
const MAX_ROUNDS = 30;

/** Runs random commands with a gateway that misbehaves. Returns the failure of the first run that the model forbids. */
export async function checkPayments({ seed, runs, maxCommands, openRun }: PaymentCheckOptions) {
  const coverage: PaymentCoverage = {};
  const property = fc.asyncProperty(paymentCommands(maxCommands), async (commands) => {
    const run = await openRun();
    const orders: string[] = [];
    for (const command of commands) {
      for (const outcome of await execute(run, orders, command)) add(coverage, outcome);
      assertFollowsFacts(run.gateway, await run.shop.read());
    }
    await settle(run);
    await refundAll(run);
  });
  const result = await fc.check(property, { seed, numRuns: runs, endOnFailure: true });
  const failure = result.failed ? `${result.errorInstance}\n${fc.defaultReportMessage(result)}` : undefined;
  return { failure, coverage };
}

/** Late responses that are awaited when they are released. */
const pending = new WeakMap<PaymentRun, Promise<unknown>[]>();

/** Runs a command. Returns its outcomes, and the fault that has occurred. */
async function execute(run: PaymentRun, orders: string[], command: PaymentCommand): Promise<string[]> {
  const { shop, gateway } = run;
  const orderId = "order" in command ? (orders[command.order % orders.length] ?? "") : "";
  switch (command.kind) {
    case "place":
      orders.push(await shop.place(command.lines, command.isShipped));
      return ["place OK"];
    case "advance":
      return execute(run, orders, await nextStep(run, orderId, command));
    case "pay":
    case "confirm":
      return withFault(run, command, () => shop[command.kind](orderId, command.token));
    case "ship":
      return [`ship ${await shop.ship(orderId, command.isAll)}`];
    case "cancel":
      return [`cancel ${await shop.cancel(orderId)}`];
    case "expire":
      await shop.expire(orderId);
      return ["expire OK"];
    case "refund": {
      const { refunded, times } = command;
      const calls = Array.from({ length: times }, () => shop.refund(orderId, refunded));
      return (await Promise.all(calls)).map((reply) => `refund ${refunded.kind} ${reply}`);
    }
    case "decide":
      gateway.bank.decide();
      return ["decide OK"];
    case "deliver": {
      const event = gateway.events[command.event % gateway.events.length];
      for (let time = 0; event !== undefined && time < command.times; time++)
        await shop.receive(gateway.deliver(event));
      return event === undefined ? [] : event.report.facts.map(({ type }) => `deliver ${type}`);
    }
    case "run jobs":
    case "reconcile":
      return withFault(run, command, async () => {
        await (command.kind === "reconcile" ? shop.reconcile() : shop.runJobs());
        return "OK";
      });
    case "release":
      await release(run);
      return ["release OK"];
  }
}

/** Returns the next step in the life of an order: without it, few random commands would reach the last steps. */
async function nextStep(
  { shop }: PaymentRun,
  orderId: string,
  { order: index, token, fault }: Extract<PaymentCommand, { kind: "advance" }>,
): Promise<PaymentCommand> {
  const order = (await shop.read()).find(({ id }) => id === orderId);
  const isUnpaid = order?.paymentState === "UNPAID" || order?.paymentState === "FAILED";
  const isWaiting = order?.payments.at(-1)?.state === "ACTION_REQUIRED";
  if (isUnpaid && isWaiting) return { kind: "confirm", order: index, token: "ok", fault };
  if (order === undefined || isUnpaid) return { kind: "pay", order: index, token, fault };
  if (order.paymentState === "AUTHORIZED" && order.shipments === 0)
    return { kind: "ship", order: index, isAll: false };
  if (order.paid < order.cost || order.refunds.length > 0) return { kind: "run jobs", fault };
  return { kind: "refund", order: index, refunded: { kind: "unit", item: 0 }, times: 1 };
}

function add(coverage: PaymentCoverage, name: string): void {
  coverage[name] = (coverage[name] ?? 0) + 1;
}

/** Makes a call whose first request to the gateway misbehaves. A late one goes on during the next commands. */
async function withFault(
  run: PaymentRun,
  { kind, fault }: Extract<PaymentCommand, { fault: GatewayFault | undefined }>,
  call: () => Promise<Reply>,
): Promise<string[]> {
  const { gateway } = run;
  const death = Promise.withResolvers<Reply>();
  gateway.onDeath = () => death.resolve("");
  gateway.nextFault = fault;
  const late = gateway.lateResponse().then(() => "");
  const reply = call();
  const outcome = await Promise.race([reply, death.promise, late]);
  const hasOccurred = fault !== undefined && gateway.nextFault === undefined;
  gateway.nextFault = undefined;
  if (hasOccurred && fault === "late") pending.set(run, [...(pending.get(run) ?? []), reply]);
  const faults = hasOccurred ? [`fault ${fault} of ${kind}`] : [];
  return outcome === "" ? faults : [`${kind} ${outcome}`, ...faults];
}

async function release(run: PaymentRun): Promise<void> {
  run.gateway.release();
  await Promise.all(pending.get(run) ?? []);
  pending.delete(run);
}

/** Delivers all events, the newest first, and lets the shop complete its work. */
async function settle(run: PaymentRun): Promise<StoredOrder[]> {
  const { shop, gateway, capture } = run;
  await release(run);
  gateway.bank.decide();
  for (let round = 0; ; round++) {
    const { events } = gateway;
    for (const event of events.toReversed()) await shop.receive(gateway.deliver(event));
    await shop.reconcile();
    const left = await shop.runJobs();
    if (left === 0 && gateway.events.length === events.length) break;
    assertHolds(round < MAX_ROUNDS, () => `${left} jobs are left after ${round} rounds`);
  }
  const orders = await shop.read();
  assertFollowsFacts(gateway, orders);
  assertSettled(gateway, orders, capture);
  return orders;
}

/** Ships and refunds what is left of each captured order, unit by unit: afterwards all of it is refunded. */
async function refundAll(run: PaymentRun): Promise<void> {
  const { shop } = run;
  for (const { id, paid } of await shop.read()) if (paid > 0) await shop.ship(id, true);
  for (const order of await settle(run)) {
    if (order.paid === order.refunded) continue;
    const units = order.quantities.flatMap((quantity, item) => Array.from({ length: quantity }, () => item));
    for (const item of units) {
      const reply = await shop.refund(order.id, { kind: "unit", item });
      assertHolds(
        ["OK", "NOTHING_TO_REFUND", "QUANTITY_TOO_LARGE"].includes(reply),
        () => `the refund of a unit returned ${reply}`,
      );
    }
  }
  await settle(run);
  for (const { id, paid, refunded } of await shop.read()) {
    // What was captured after the refund of its units.
    if (paid > refunded) await shop.refund(id, { kind: "amount", amount: paid - refunded });
  }
  for (const { paid, refunded, paymentState } of await settle(run)) {
    assertHolds(paid === refunded, () => `${refunded} of ${paid} are refunded with all units`);
    assertHolds(paid === 0 || paymentState === "REFUNDED", () => `a refunded order is ${paymentState}`);
  }
  const violations = await shop.findViolations();
  assertHolds(violations.length === 0, () => JSON.stringify(violations));
}
