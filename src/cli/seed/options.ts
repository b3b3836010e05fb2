import { parseArgs } from "node:util";
import { StartupError } from "../../kernel/errors.ts";
import { formatCount } from "../format-count.ts";

const MAX_COUNT = 2_000_000;

/** The usage text of `npm run seed`. */
export const USAGE = `Usage: npm run seed -- [--products 100000] [--customers 1000]
  Adds products and customers, 1 to ${formatCount(MAX_COUNT)} each, and only those that are missing. The command works on
  the database of DATABASE_URL, or on that of DATA_DIR, where the service may be running.`;

/** Target numbers of products and customers. */
export interface SeedCounts {
  products: number;
  customers: number;
}

/**
 * Reads the options from arguments.
 * @returns undefined for --help
 * @throws StartupError for a number out of range, TypeError for an unknown option
 */
export function readOptions(args: string[]): SeedCounts | undefined {
  const { values } = parseArgs({
    args,
    options: {
      products: { type: "string", default: "100000" },
      customers: { type: "string", default: "1000" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    products: readCount("products", values.products),
    customers: readCount("customers", values.customers),
  };
}

function readCount(option: string, text: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MAX_COUNT) return count;
  throw new StartupError(
    `--${option} must be a whole number from 1 to ${formatCount(MAX_COUNT)}, not "${text}".`,
  );
}
