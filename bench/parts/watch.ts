import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { seedId } from "../../src/cli/seed/generate/seed-id.ts";
import { seedShop } from "../../src/cli/seed/seed-shop.ts";
import { mapConcurrent } from "../../src/kernel/async/map-concurrent.ts";
import { decodeResponse, encodeRequest, type GrpcClient, openGrpcClient } from "../harness/grpc-client.ts";
import { formatNumber, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { readProcess } from "../harness/process-stat.ts";
import { type Service, startService } from "../harness/service.ts";
import { openWatchers } from "../workload/watchers.ts";

const { createOrder, setOrderExpireTime } = OrderService.method;
const PRODUCTS = 2_000;
const WATCHERS = 1_000;
const ORDERS = 100;
const CHANGES = 30;
const WARM_UP = 5;
/** Changes at the same time: fewer than the service has connections to the database. */
const CONCURRENT_CHANGES = 8;
/** Pause between changes, so that they are at random times of the polling interval. */
const MAX_PAUSE_MS = 300;
const IDLE_WATCHERS = 10_000;
const IDLE_SECONDS = 10;
/** The p99 of the time from the response of a change to the message of a watcher, in milliseconds. */
const GOAL_MS = 200;
const SETTINGS = { MAX_WATCHERS: "20000" };

/** Measures how fast changes reach watchers, and what watchers cost. */
export const watch: Part = async () => {
  const goals = new Goals();
  const service = await startService(SETTINGS);
  const { databaseUrl, redisUrl } = service;
  const other = await startService({ ...SETTINGS, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl });
  const clients = [service, other].map(({ url }) => openGrpcClient(url, 1));
  const [local, remote] = clients;
  if (local === undefined || remote === undefined) throw new RangeError("There are two clients.");
  try {
    await seedShop({ url: databaseUrl, products: PRODUCTS, customers: 1 });
    const rows = [
      ["1,000 watchers", "changes at", "p50 ms", "p99 ms", "goal", "service CPU for a change, ms"],
    ];
    for (const [name, count] of [
      ["of one order", 1],
      [`of ${ORDERS} orders, changed together`, ORDERS],
    ] as const) {
      for (const [place, client] of [
        ["the same replica", local],
        ["another replica", remote],
      ] as const) {
        const { ms, cpuMs } = await measureChanges(service, client, await placeOrders(local, count));
        const p99 = quantile(ms, 0.99);
        const goal = goals.atMost(`the p99 of watchers ${name} after changes at ${place}, ms,`, p99, GOAL_MS);
        rows.push([
          name,
          place,
          formatNumber(quantile(ms, 0.5)),
          formatNumber(p99),
          goal,
          formatNumber(cpuMs),
        ]);
      }
    }
    const idle = await measureIdle(service, await placeOrders(local, ORDERS));
    const notes = `Time from the response of SetOrderExpireTime to the message of each watcher; ${CHANGES} changes of each order, watchers over connections of 100 streams. ${formatNumber(IDLE_WATCHERS)} idle watchers take ${formatNumber(idle.kbPerWatcher)} kB of resident memory each and ${formatNumber(idle.cpuShare * 100)}% of a core of the service together. The watchers and the stores share the machine.`;
    return { title: "Watches", notes, rows, missed: goals.missed, stores: service.stores };
  } finally {
    for (const client of clients) client.close();
    await other.close();
    await service.close();
  }
};

async function placeOrders(client: GrpcClient, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 1; ids.length < count && number <= PRODUCTS; number += 1) {
    const items = [{ productId: seedId("product", number), quantity: 1n }];
    const request = encodeRequest(createOrder, { requestId: randomUUID(), order: { items } });
    // Some seeded products are out of stock.
    const response = await client.call(request).catch(() => undefined);
    const { order } = response === undefined ? {} : decodeResponse(request, response);
    if (order !== undefined) ids.push(order.id);
  }
  return ids;
}

/** Returns the delays of all messages, and the processor time of the service for a round of changes. */
async function measureChanges(
  service: Service,
  client: GrpcClient,
  orderIds: readonly string[],
): Promise<{ ms: number[]; cpuMs: number }> {
  const watchers = await openWatchers(service.url, orderIds, WATCHERS);
  try {
    const ms: number[] = [];
    let busySeconds = await busySecondsOf(service);
    for (let round = 1; round <= WARM_UP + CHANGES; round += 1) {
      await sleep(Math.random() * MAX_PAUSE_MS);
      if (round === WARM_UP + 1) busySeconds = await busySecondsOf(service);
      const changedAt = await changeAll(client, orderIds);
      await watchers.untilReceived(round + 1);
      if (round <= WARM_UP) continue;
      for (const [id, changedAtMs] of changedAt) {
        // A watcher can be faster than the response of the change.
        for (const at of watchers.receivedAt(id)) ms.push(Math.max(0, at - changedAtMs));
      }
    }
    return { ms, cpuMs: (1_000 * ((await busySecondsOf(service)) - busySeconds)) / CHANGES };
  } finally {
    watchers.close();
  }
}

function* each<T>(items: Iterable<T>): Generator<T> {
  yield* items;
}

/** Changes orders. @returns for each, when the response arrived */
async function changeAll(client: GrpcClient, orderIds: readonly string[]): Promise<Map<string, number>> {
  const changedAt = new Map<string, number>();
  await mapConcurrent(each(orderIds), CONCURRENT_CHANGES, async (id) => {
    // Another time than before: a repeated call changes nothing.
    const expireTime = timestampFromMs(Date.now() + 3_600_000);
    await client.call(encodeRequest(setOrderExpireTime, { id, expireTime }));
    changedAt.set(id, performance.now());
  });
  return changedAt;
}

async function measureIdle(
  service: Service,
  orderIds: readonly string[],
): Promise<{ kbPerWatcher: number; cpuShare: number }> {
  const beforeKb = await residentKb(service);
  const watchers = await openWatchers(service.url, orderIds, IDLE_WATCHERS);
  try {
    const kbPerWatcher = ((await residentKb(service)) - beforeKb) / IDLE_WATCHERS;
    const busySeconds = await busySecondsOf(service);
    await sleep(1_000 * IDLE_SECONDS);
    return { kbPerWatcher, cpuShare: ((await busySecondsOf(service)) - busySeconds) / IDLE_SECONDS };
  } finally {
    watchers.close();
  }
}

async function busySecondsOf({ pid }: Service): Promise<number> {
  return (await readProcess(pid))?.busySeconds ?? Number.NaN;
}

async function residentKb({ pid }: Service): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]);
}
