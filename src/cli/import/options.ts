import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { ImportMode } from "../../client/client.ts";
import { StartupError } from "../../kernel/errors.ts";
import { UUID_PATTERN } from "../../kernel/ids.ts";
import { formatCount } from "../format-count.ts";
import { isSupportedFile } from "./read-rows.ts";

/** Values of --max-cell-lines. */
const DEFAULT_CELL_LINES = 10;
const MAX_CELL_LINES = 10_000;
/** The greatest value of --max-deletes, as in the contract. */
const MAX_DELETES = 100_000_000;

/** The usage text of `npm run import`. */
export const USAGE = `Usage: npm run import -- FILE [--mode incremental|full] [--max-deletes N] [--url URL]
                             [--max-cell-lines ${DEFAULT_CELL_LINES}] [--request-id UUID] [--errors FILE]
  Creates and updates products, identified by their sku. FILE is .csv with a header of column names, or .ndjson (or
  .jsonl) with one ImportRow of the contract as JSON in each line. Both may be compressed (.gz). docs/import.md has
  the columns and sample files. Invalid rows are reported by their number and do not stop the import.

  --mode            full also deletes the products that are not in the file. Default: incremental.
  --max-deletes     Maximum number of products that --mode full deletes. If more are missing in the file, none is
                    deleted. Default: 5 percent of the products.
  --url             Address of the service. Default: that of HOST and PORT, as the service reads them from the
                    environment or from .env, otherwise http://127.0.0.1:8080.
  --max-cell-lines  Maximum number of lines of a quoted CSV cell. A row with more is an error, since two misplaced
                    quotes make one cell of all rows in between. Default: ${DEFAULT_CELL_LINES}.
  --request-id      Resumes an interrupted import of the same file.
  --errors          File for the errors, as JSON lines. The service keeps the first 1,000.

  The environment variable CARTWRIGHT_TOKEN, or .env, contains an API key with the scope catalog-write or the access
  token of a staff member. To create a key:
    npm run admin -- create-key --service import --scopes catalog-write

  Exit code: 0 if all rows are imported, 1 if rows failed, the deletion was rejected or the import was not completed.`;

const MODES = new Map([
  ["incremental", ImportMode.INCREMENTAL],
  ["full", ImportMode.FULL],
]);

/** Options of the command. */
export interface ImportCommandOptions {
  file: string;
  mode: ImportMode;
  /** Maximum number of products to delete; undefined for the default of the service. */
  maxDeletes: bigint | undefined;
  /** Address of the service; undefined for that of the environment. */
  url: string | undefined;
  /** Maximum number of lines of a quoted cell. */
  maxCellLines: number;
  requestId: string;
  /** Path of the file for the errors; undefined for none. */
  errorsFile: string | undefined;
}

/**
 * Reads the arguments. Returns undefined when help is requested. The token is no argument: all users of the machine can
 * list those.
 * @throws Error whose message names the wrong argument
 */
export function readOptions(args: string[]): ImportCommandOptions | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      mode: { type: "string", default: "incremental" },
      "max-deletes": { type: "string" },
      url: { type: "string" },
      "max-cell-lines": { type: "string", default: String(DEFAULT_CELL_LINES) },
      "request-id": { type: "string", default: randomUUID() },
      errors: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const mode = parseMode(values.mode);
  return {
    file: parseFile(positionals),
    mode,
    maxDeletes: parseMaxDeletes(values["max-deletes"], mode),
    url: values.url === undefined ? undefined : parseUrl(values.url),
    maxCellLines: parseInteger("max-cell-lines", values["max-cell-lines"], 1, MAX_CELL_LINES),
    requestId: parseRequestId(values["request-id"]),
    errorsFile: values.errors,
  };
}

function parseFile([file, ...others]: string[]): string {
  if (file === undefined || others.length > 0) throw new StartupError("Name one file to import.");
  if (isSupportedFile(file)) return file;
  throw new StartupError(`${file} is not a .ndjson, .jsonl or .csv file, compressed (.gz) or not.`);
}

function parseMode(text: string): ImportMode {
  const mode = MODES.get(text);
  if (mode === undefined) throw new StartupError(`--mode must be incremental or full, not "${text}".`);
  return mode;
}

function parseUrl(text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? "")) return text;
  throw new StartupError("--url must be an http or https address.");
}

function parseRequestId(text: string): string {
  if (UUID_PATTERN.test(text)) return text;
  throw new StartupError("--request-id must be a UUID.");
}

function parseMaxDeletes(text: string | undefined, mode: ImportMode): bigint | undefined {
  if (text === undefined) return undefined;
  if (mode !== ImportMode.FULL) throw new StartupError("--max-deletes needs --mode full.");
  return BigInt(parseInteger("max-deletes", text, 0, MAX_DELETES));
}

function parseInteger(option: string, text: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new StartupError(
    `--${option} must be a whole number from ${formatCount(min)} to ${formatCount(max)}, not "${text}".`,
  );
}

/** Returns the command line with these options, for a shell. */
export function formatCommand(options: ImportCommandOptions): string {
  const { file, mode, maxDeletes, url, maxCellLines, requestId, errorsFile } = options;
  const values = {
    mode: mode === ImportMode.FULL ? "full" : undefined,
    "max-deletes": maxDeletes,
    url,
    "max-cell-lines": maxCellLines === DEFAULT_CELL_LINES ? undefined : maxCellLines,
    "request-id": requestId,
    errors: errorsFile,
  };
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const args = given.map(([name, value]) => `--${name} ${quote(String(value))}`);
  return ["npm run import --", quote(file), ...args].join(" ");
}

/** Quotes an argument for a POSIX shell. */
function quote(text: string): string {
  return /^[\w%+,./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
