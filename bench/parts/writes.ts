import { Redis } from "ioredis";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { seedId } from "../../src/cli/seed/generate/seed-id.ts";
import { seedShop } from "../../src/cli/seed/seed-shop.ts";
import {
  type EncodedRequest,
  encodeRequest,
  type GrpcClient,
  openGrpcClient,
} from "../harness/grpc-client.ts";
import { formatNumber, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { type Service, startService } from "../harness/service.ts";

const { updateProduct } = CatalogService.method;
const PRODUCTS = 2_000;
const WARM_UP = 100;
const CALLS = 400;
/** The most by which the median of a write may grow with other replicas, or with a read-only Redis. */
const GOAL = 1.5;
/** No process listens on it. */
const CLOSED_PORT = 1;

/** Measures the latency of UpdateProduct, which is acknowledged when all replicas have dropped the product. */
export const writes: Part = async () => {
  const services: Service[] = [];
  const start = async (settings: Readonly<Record<string, string>>): Promise<Service> => {
    const service = await startService({ WORKERS: "0", ...settings });
    services.push(service);
    return service;
  };
  const goals = new Goals();
  const rows = [["UpdateProduct, one at a time", "p50 ms", "p99 ms", "p50 against one replica", "goal"]];
  const writer = await start({});
  const { databaseUrl, redisUrl } = writer;
  const client = openGrpcClient(writer.url, 1);
  const redis = new Redis(redisUrl);
  try {
    await seedShop({ url: databaseUrl, products: PRODUCTS, customers: 1 });
    const next = createRequests();
    await measure(client, next, WARM_UP);
    let baseMs: number | undefined;
    const addRow = async (name: string) => {
      const ms = await measure(client, next, CALLS);
      const p50 = quantile(ms, 0.5);
      baseMs ??= p50;
      const ratio = p50 / baseMs;
      const goal = goals.atMost(`the median of a write with ${name} to that with one replica`, ratio, GOAL);
      rows.push([name, formatNumber(p50), formatNumber(quantile(ms, 0.99)), formatNumber(ratio), goal]);
    };
    await addRow("one replica");
    await start({ DATABASE_URL: databaseUrl, REDIS_URL: redisUrl });
    await addRow("two replicas");
    const third = await start({ DATABASE_URL: databaseUrl, REDIS_URL: redisUrl });
    await addRow("three replicas");
    process.kill(third.pid, "SIGSTOP");
    await addRow("three replicas, one frozen").finally(() => process.kill(third.pid, "SIGCONT"));
    await redis.replicaof("127.0.0.1", CLOSED_PORT);
    await addRow("three replicas, Redis read-only").finally(() => redis.replicaof("NO", "ONE"));
  } finally {
    client.close();
    redis.disconnect();
    for (const service of services.reverse()) await service.close();
  }
  return {
    title: "Writes",
    notes: `UpdateProduct over gRPC, one call at a time, ${CALLS} calls for each row after ${WARM_UP} that do not count. The first calls after a change of the row wait for the lease of a frozen replica or for the circuit breaker, and are part of p99.`,
    rows,
    missed: goals.missed,
    stores: writer.stores,
  };
};

/** Returns a function that returns requests which change the price of one product after the other. */
function createRequests(): () => EncodedRequest {
  let calls = 0;
  return () => {
    calls += 1;
    const product = {
      id: seedId("product", 1 + (calls % PRODUCTS)),
      price: { currencyCode: "EUR", minorUnits: BigInt(1_000 + calls) },
    };
    return encodeRequest(updateProduct, { product, updateMask: { paths: ["price"] } });
  };
}

/** Returns the latencies of calls that are made one at a time, in milliseconds. */
async function measure(client: GrpcClient, next: () => EncodedRequest, calls: number): Promise<number[]> {
  const ms: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const request = next();
    const startMs = performance.now();
    await client.call(request);
    ms.push(performance.now() - startMs);
  }
  return ms;
}
