import { parseArgs } from "node:util";
import { createLog } from "../../infra/log.ts";
import { StartupError } from "../../kernel/errors.ts";
import { runCommand } from "../run-command.ts";
import { withDatabase } from "../with-database.ts";
import { showProgress } from "./progress.ts";
import { type Seeded, seedShop } from "./seed-shop.ts";

const log = createLog("warn", process.stdout.isTTY);
const MAX_COUNT = 2_000_000;
const USAGE = `Usage: npm run seed -- [--products 100000] [--customers 1000]
  Adds products and customers, 1 to ${format(MAX_COUNT)} each, and only those that are missing. The command works on
  the database of DATABASE_URL, or on the one in DATA_DIR whether its shop runs or not.`;

const RESUME_HINT = "Everything added so far is complete. Run the command again to continue.";

interface SeedCounts {
  products: number;
  customers: number;
}

/**
 * Reads how much to seed. Returns undefined when help is requested.
 * @throws StartupError for an unknown option or a number out of range
 */
function readOptions(args: string[]): SeedCounts | undefined {
  const { values } = parseArgs({
    args,
    options: {
      products: { type: "string", default: "100000" },
      customers: { type: "string", default: "1000" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const count = (name: keyof SeedCounts) => {
    const value = /^\d{1,7}$/.test(values[name]) ? Number(values[name]) : 0;
    if (value >= 1 && value <= MAX_COUNT) return value;
    throw new StartupError(
      `--${name} must be a whole number from 1 to ${format(MAX_COUNT)}, not "${values[name]}".`,
    );
  };
  return { products: count("products"), customers: count("customers") };
}

function format(count: number): string {
  return count.toLocaleString("en");
}

function summary({ products, customers, orders, purchases, productsMs, ms }: Seeded): string {
  const seconds = (ms / 1_000).toFixed(1);
  if (products + customers === 0) return `Nothing to add: all data exists (${seconds} s).`;
  const speed = products > 0 ? `, ${format(Math.round((products / productsMs) * 1_000))} products/s` : "";
  const counts = Object.entries({ products, customers, orders, purchases });
  return `Added ${counts.map(([what, count]) => `${format(count)} ${what}`).join(", ")} in ${seconds} s${speed}.`;
}

async function seed(counts: SeedCounts): Promise<void> {
  const progress = showProgress(process.stdout);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      progress.stop();
      process.stderr.write(`\nInterrupted. ${RESUME_HINT}\n`);
      // An embedded PostgreSQL that was started here ends with this process.
      process.exit(1);
    });
  }
  try {
    const seeded = await withDatabase(log, (url) =>
      seedShop({ ...counts, url, onProgress: progress.report }),
    );
    progress.stop();
    process.stdout.write(`${summary(seeded)}\n`);
  } catch (error) {
    progress.stop();
    if (!(error instanceof StartupError)) throw error;
    throw new StartupError(`Seeding stopped. ${error.message} ${RESUME_HINT}`);
  }
}

await runCommand({ usage: USAGE, readOptions, run: seed });
