import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { ImportMode } from "../../client/client.ts";
import { StartupError } from "../../kernel/errors.ts";
import { isReadable } from "./read-rows.ts";

/** What the command is for. */
export const USAGE = `Usage: npm run import -- FILE [--mode incremental|full] [--url http://localhost:8080]
                             [--request-id UUID] [--errors FILE]
  Creates and changes products, told apart by their sku. FILE is .ndjson (or .jsonl), one product a line as
  the contract's ImportRow in JSON, or .csv with a line of column names: sku, name, description,
  category_slug, brand, price_minor_units, currency_code, stock_quantity, image_uri, attributes.<name>.
  Either can be packed (.gz). Faulty rows are reported by their number and the others go on.

  --mode        full also deletes the products that are not in the file. Default: incremental.
  --url         Where the shop answers.
  --request-id  Goes on with an import that was broken off, with the same file.
  --errors      Where to write the errors, as JSON lines; the shop keeps those of the first 1,000 rows.

  The environment variable CARTWRIGHT_TOKEN holds who imports: an API key with the scope catalog-write, or the
  access token of somebody who works in the shop. A key is made by
    npm run admin -- create-key --service import --scopes catalog-write`;

const MODES = new Map([
  ["incremental", ImportMode.INCREMENTAL],
  ["full", ImportMode.FULL],
]);
/** What the command was told. */
export interface Options {
  file: string;
  mode: ImportMode;
  url: string;
  requestId: string;
  errors: string | undefined;
  /** Who imports. Never an argument: those are seen by all users of the machine. */
  token: string | undefined;
}

/** @throws StartError for an option that does not exist or cannot be; undefined: help is asked for */
export function readOptions(args: string[], env: NodeJS.ProcessEnv): Options | undefined {
  try {
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
    const [file, ...others] = positionals;
    const [mode, requestId] = [MODES.get(values.mode), values["request-id"]];
    const wrong = (what: string): never => {
      throw new StartupError(what);
    };
    if (file === undefined || others.length > 0) return wrong("Name one file to import.");
    if (!isReadable(file)) return wrong(`${file} is neither .ndjson, .jsonl nor .csv, packed as .gz or not.`);
    if (mode === undefined) return wrong(`--mode must be incremental or full, not "${values.mode}".`);
    if (!/^https?:$/.test(URL.parse(values.url)?.protocol ?? ""))
      return wrong("--url must be an http address.");
    if (!/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(requestId))
      return wrong("--request-id must be a UUID.");
    // What a header cannot hold would be refused with the token in the message.
    const token = env.CARTWRIGHT_TOKEN?.trim();
    if (token !== undefined && !/^[\w.~+/=-]*$/.test(token)) return wrong("CARTWRIGHT_TOKEN is no token.");
    return { file, mode, url: values.url, requestId, errors: values.errors, token };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new StartupError(`${error.message}\n${USAGE}`);
  }
}
