import { createCategorySlug } from "../import/import-rows.ts";
import { createTestDatabase, type TestDatabase } from "../stores/database.ts";
import { terminateConnections } from "../stores/database-activity.ts";
import { callService } from "./call-service.ts";
import { createFixture, initialState, readStoredShop } from "./model/fixture.ts";
import type { Fault, ShopRun } from "./model/shop-run.ts";
import { createModelZones } from "./model/zones.ts";
import { createModelWorker, type ModelWorker } from "./model-worker.ts";
import { clientsAt, type ServiceReplica, startReplica } from "./service-replicas.ts";

/** Two replicas of the service with a database of their own, for runs of the model. */
export interface ServiceModel {
  database: TestDatabase;
  openRun(): Promise<ShopRun>;
  close(): Promise<void>;
}

/** Statements of the transactions whose COMMIT is interrupted; not those of jobs. */
const CHANGE = /\borders\b|\bstock_movement\b/;

/** Starts two replicas of the service. */
export async function startServiceModel(redisUrl: string): Promise<ServiceModel> {
  const database = await createTestDatabase();
  const env = { REDIS_URL: redisUrl, DB_POOL_MAX: "6" };
  const replicas = await Promise.all([startReplica(database.url, env), startReplica(database.url, env)]);
  const [first] = await Promise.all(replicas.map((replica) => replica.clients()));
  if (first === undefined) throw new Error("there is no replica");
  const categorySlug = await createCategorySlug(first);
  await createModelZones(first);
  const worker = createModelWorker(database);
  return {
    database,
    openRun: () => openRun(database, replicas, worker, categorySlug),
    async close() {
      await Promise.all(replicas.map((replica) => replica.close()));
      await database.drop();
    },
  };
}

async function openRun(
  database: TestDatabase,
  replicas: readonly ServiceReplica[],
  worker: ModelWorker,
  categorySlug: string,
): Promise<ShopRun> {
  const fixture = await createFixture(await clientsAt(replicas, 0), database, categorySlug);
  let hasFaults = false;
  const occurred: Fault[] = [];
  return {
    state: initialState,
    hasFaults: () => hasFaults,
    occurredFaults: () => occurred,
    async call(operation, index, ids) {
      if (operation.method === "PassExpireTime") {
        await worker.passExpireTime(ids.orders.get(operation.order) ?? "");
        return { outcome: { code: "OK" } };
      }
      return callService(await clientsAt(replicas, index), fixture, operation, ids);
    },
    async inject(fault: Fault) {
      hasFaults = true;
      const onOccur = () => void occurred.push(fault);
      if (fault.kind === "kill connections") {
        await terminateConnections(database);
        return onOccur();
      }
      if (fault.kind === "kill worker") return worker.killAtCommit(fault.moment, onOccur);
      const replica = replicas[fault.replica];
      if (replica === undefined) return;
      const { moment } = fault;
      const onInterrupt = () => {
        if (fault.kind === "kill replica") replica.kill();
        onOccur();
      };
      if (moment === "immediately") onInterrupt();
      else replica.proxy.interrupt({ moment, statement: CHANGE, onInterrupt });
    },
    async endFaults() {
      for (const { proxy } of replicas) proxy.reset();
      worker.reset();
    },
    completeExpiries: () => worker.completeExpiries(),
    readStored: () => readStoredShop(database, fixture),
  };
}
