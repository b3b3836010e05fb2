import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { ImportMode } from "../../client/client.ts";
import { StartupError } from "../../kernel/errors.ts";
import { isSupportedFile } from "./read-rows.ts";

/** The usage text of `npm run import`. */
export const USAGE = `Usage: npm run import -- FILE [--mode incremental|full] [--url http://localhost:8080]
                             [--request-id UUID] [--errors FILE]
  Creates and updates products, identified by their sku. FILE is .ndjson (or .jsonl) with one ImportRow of the
  contract as JSON in each line, or .csv with a header of column names: sku, name, description, category_slug, brand,
  price_minor_units, currency_code, stock_quantity, image_uri, attributes.<name>. Both may be compressed (.gz).
  Invalid rows are reported by their number and do not stop the import.

  --mode        full also deletes the products that are not in the file. Default: incremental.
  --url         Address of the service.
  --request-id  Resumes an interrupted import of the same file.
  --errors      File for the errors, as JSON lines. The service keeps the first 1,000.

  The environment variable CARTWRIGHT_TOKEN contains an API key with the scope catalog-write or the access token of a
  staff member. To create a key:
    npm run admin -- create-key --service import --scopes catalog-write`;

const MODES = new Map([
  ["incremental", ImportMode.INCREMENTAL],
  ["full", ImportMode.FULL],
]);
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Options of the command. */
export interface ImportCommandOptions {
  file: string;
  mode: ImportMode;
  url: string;
  requestId: string;
  /** Path of the file for the errors; undefined for none. */
  errorsFile: string | undefined;
  /** Bearer token. It is never an argument: all users of the machine can list those. */
  token: string | undefined;
}

/**
 * Reads the arguments and the environment. Returns undefined when help is requested.
 * @throws Error whose message names the wrong argument
 */
export function readOptions(args: string[], env: NodeJS.ProcessEnv): ImportCommandOptions | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      mode: { type: "string", default: "incremental" },
      url: { type: "string", default: "http://localhost:8080" },
      "request-id": { type: "string", default: randomUUID() },
      errors: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    file: parseFile(positionals),
    mode: parseMode(values.mode),
    url: parseUrl(values.url),
    requestId: parseRequestId(values["request-id"]),
    errorsFile: values.errors,
    token: parseToken(env.CARTWRIGHT_TOKEN),
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
  if (UUID.test(text)) return text;
  throw new StartupError("--request-id must be a UUID.");
}

/** Rejects characters that a header cannot contain: the error of the HTTP client would show the token. */
function parseToken(text: string | undefined): string | undefined {
  const token = text?.trim();
  if (token === undefined || /^[\w.~+/=-]*$/.test(token)) return token;
  throw new StartupError("CARTWRIGHT_TOKEN is not a valid token.");
}
