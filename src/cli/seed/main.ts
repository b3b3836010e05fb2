import { parseArgs } from "node:util";
import { readConfig, readDotEnv } from "../../config.ts";
import { entities } from "../../entities.ts";
import { createLog } from "../../infra/log.ts";
import { migrate } from "../../infra/postgres/migrate.ts";
import { readPostgresError } from "../../infra/postgres/postgres-errors.ts";
import { StartupError } from "../../kernel/errors.ts";
import { findDatabase } from "../resolve-database-url.ts";
import { showProgress } from "./progress.ts";
import { type Seeded, seedShop } from "./seed-shop.ts";

const log = createLog("warn", process.stdout.isTTY);
const MAX_COUNT = 2_000_000;
const USAGE = `Usage: npm run seed -- [--products 100000] [--customers 1000]
  Fills the shop with so many products and customers, 1 to ${format(MAX_COUNT)} each, and adds only what is missing:
  the database of DATABASE_URL, or the one in DATA_DIR, whether its shop runs or not.`;

const GO_ON = "What was added so far is whole; run it again to go on.";

/** @throws StartError for an option that does not exist or is out of range */
function readOptions(args: string[]): { products: number; customers: number; help: boolean } {
  try {
    const { values } = parseArgs({
      args,
      options: {
        products: { type: "string", default: "100000" },
        customers: { type: "string", default: "1000" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const count = (name: "products" | "customers") => {
      const value = /^\d{1,7}$/.test(values[name]) ? Number(values[name]) : 0;
      if (value >= 1 && value <= MAX_COUNT) return value;
      throw new StartupError(
        `--${name} must be a whole number from 1 to ${format(MAX_COUNT)}, not "${values[name]}".`,
      );
    };
    return { products: count("products"), customers: count("customers"), help: values.help };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new StartupError(`${error.message}\n${USAGE}`);
  }
}

function format(count: number): string {
  return count.toLocaleString("en");
}

function summary({ products, customers, orders, purchases, productsMs, ms }: Seeded): string {
  const seconds = (ms / 1_000).toFixed(1);
  if (products + customers === 0) return `Nothing to add: all of it is there (${seconds} s).`;
  const speed = products > 0 ? `, ${format(Math.round((products / productsMs) * 1_000))} products/s` : "";
  const counts = Object.entries({ products, customers, orders, purchases });
  return `Added ${counts.map(([what, count]) => `${format(count)} ${what}`).join(", ")} in ${seconds} s${speed}.`;
}

async function seed(options: { products: number; customers: number }): Promise<void> {
  const database = await findDatabase(readConfig({ ...readDotEnv(), ...process.env }), log);
  const progress = showProgress(process.stdout);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      progress.stop();
      process.stderr.write(`\nInterrupted. ${GO_ON}\n`);
      process.exit(1); // a PostgreSQL that was started here ends with this process
    });
  }
  try {
    await migrate(database.url, entities, log);
    const seeded = await seedShop({ ...options, url: database.url, onProgress: progress.report });
    progress.stop();
    console.log(summary(seeded));
  } catch (error) {
    progress.stop();
    const fault = readPostgresError(error);
    if (fault === undefined) throw error;
    throw new StartupError(`Seeding stopped: ${fault.message || fault.code}. ${GO_ON}`);
  } finally {
    await database.close();
  }
}

try {
  const { help, ...options } = readOptions(process.argv.slice(2));
  if (help) console.log(USAGE);
  else await seed(options);
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
