import { seedShop } from "../../src/cli/seed/seed-shop.ts";
import { formatNumber } from "./numbers.ts";
import { type Service, startService } from "./service.ts";

/** The shops that a bench measures. Each is started and seeded at its first use. */
export interface Shops {
  /** The number of products in the large and in the small shop. */
  readonly products: number;
  readonly smallProducts: number;
  /** Returns a replica on the large shop with the cache off: every read goes to the database. */
  uncached(): Promise<Service>;
  /** Returns a second replica on the stores of the large shop, with the cache on. */
  cached(): Promise<Service>;
  /** Starts another replica on the stores of the large shop, with more settings. */
  startReplica(settings: Readonly<Record<string, string>>): Promise<Service>;
  /** Returns a replica on the small shop, with the cache off. */
  small(): Promise<Service>;
  close(): Promise<void>;
}

/** Turns background jobs off, so that the stores do only the measured work. */
const NO_WORKERS = { WORKERS: "0" };
/** The minimum number of products with which categories have more than one page. */
const MIN_PRODUCTS = 2_000;
const CUSTOMERS = 1_000;

/** Creates the shops. @param products in the large shop; the small one has a hundredth */
export function createShops(products: number): Shops {
  const running: Service[] = [];
  const start = async (settings: Readonly<Record<string, string>>): Promise<Service> => {
    const service = await startService({ ...NO_WORKERS, ...settings });
    running.push(service);
    return service;
  };
  const startFilled = async (count: number): Promise<Service> => {
    const service = await start({ CACHE: "off" });
    console.log(`seeding ${formatNumber(count)} products ...`);
    const { ms } = await seedShop({ url: service.databaseUrl, products: count, customers: CUSTOMERS });
    console.log(`  in ${formatNumber(ms / 1_000)} s`);
    return service;
  };
  const smallProducts = Math.max(MIN_PRODUCTS, Math.floor(products / 100));
  const uncached = memoize(() => startFilled(products));
  const startReplica = async (settings: Readonly<Record<string, string>>) => {
    const { databaseUrl, redisUrl } = await uncached();
    return start({ CACHE: "on", DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, ...settings });
  };
  const cached = memoize(() => startReplica({}));
  const close = async () => {
    // In reverse order: the first processes own the stores.
    for (const service of running.splice(0).reverse()) await service.close();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void close().finally(() => process.exit(1)));
  }
  return {
    products,
    smallProducts,
    uncached,
    cached,
    startReplica,
    small: memoize(() => startFilled(smallProducts)),
    close,
  };
}

/** Returns a function that calls `make` once and returns the same promise every time. */
function memoize<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
