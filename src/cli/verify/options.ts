import { parseArgs } from "node:util";
import { StartupError } from "../../kernel/errors.ts";
import { DEFAULT_MAX_BREACHES } from "../../operations/operations.ts";

/** The greatest value of --max-breaches, as in the contract. */
const LARGEST_MAX_BREACHES = 100;

/** The usage text of `npm run verify`. */
export const USAGE = `Usage: npm run verify -- [--max-breaches ${DEFAULT_MAX_BREACHES}]
  Checks the invariants of all data in one snapshot: stock against its movements and orders, totals against their rows,
  references, counters. It changes nothing, and the service may be running. The command works on the database of
  DATABASE_URL, or on that of DATA_DIR. That database must have the schema of this version.

  --max-breaches  Maximum number of breaches to print for each check, 1 to ${LARGEST_MAX_BREACHES}.

  Exit code: 0 if all invariants hold, 1 if one is breached or the checks could not be completed.`;

/** Options of the command. */
export interface VerifyOptions {
  maxBreaches: number;
}

/**
 * Reads the options from arguments.
 * @returns undefined for --help
 * @throws StartupError for a number out of range, TypeError for an unknown option
 */
export function readOptions(args: string[]): VerifyOptions | undefined {
  const { values } = parseArgs({
    args,
    options: {
      "max-breaches": { type: "string", default: String(DEFAULT_MAX_BREACHES) },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const text = values["max-breaches"];
  const maxBreaches = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (maxBreaches >= 1 && maxBreaches <= LARGEST_MAX_BREACHES) return { maxBreaches };
  throw new StartupError(
    `--max-breaches must be a whole number from 1 to ${LARGEST_MAX_BREACHES}, not "${text}".`,
  );
}
