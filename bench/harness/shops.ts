import { seedShop } from "../../src/cli/seed/seed-shop.ts";
import { formatNumber } from "./numbers.ts";
import { type Service, startService } from "./service.ts";

/** The shops that a bench is about. Each is started and filled when it is first asked for. */
export interface Shops {
  /** How many products the large shop has, and the small one. */
  readonly products: number;
  readonly smallProducts: number;
  /** The large shop with the cache off: every read goes to the database. */
  plain(): Promise<Service>;
  /** Another process on the stores of the large shop, with the cache on. */
  cached(): Promise<Service>;
  /** One more of these, with settings of its own. */
  beside(settings: Readonly<Record<string, string>>): Promise<Service>;
  /** A small shop on stores of its own, with the cache off. */
  small(): Promise<Service>;
  close(): Promise<void>;
}

/** Nothing in the background, so that what the stores do is what was asked of them. */
const QUIET = { WORKERS: "0" };
/** Enough for categories of more than a page. */
const FEWEST_PRODUCTS = 2_000;
const CUSTOMERS = 1_000;

/** @param products of the large shop; the small one has a hundredth */
export function createShops(products: number): Shops {
  const running: Service[] = [];
  const start = async (settings: Readonly<Record<string, string>>): Promise<Service> => {
    const service = await startService({ ...QUIET, ...settings });
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
  const smallProducts = Math.max(FEWEST_PRODUCTS, Math.floor(products / 100));
  const plain = once(() => startFilled(products));
  const beside = async (settings: Readonly<Record<string, string>>) => {
    const { databaseUrl, redisUrl } = await plain();
    return start({ CACHE: "on", DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, ...settings });
  };
  const cached = once(() => beside({}));
  const close = async () => {
    // Last come, first gone: those before have the stores.
    for (const service of running.splice(0).reverse()) await service.close();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void close().finally(() => process.exit(1)));
  }
  return {
    products,
    smallProducts,
    plain,
    cached,
    beside,
    small: once(() => startFilled(smallProducts)),
    close,
  };
}

/** Does it when first asked, and gives the same to all. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
