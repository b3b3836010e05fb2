import { stat } from "node:fs/promises";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  Code,
  ConnectError,
  createClient,
  ImportMode,
  type ImportProductsResponse,
} from "../../client/client.ts";
import { StartupError } from "../../kernel/errors.ts";
import { type Options, readOptions, USAGE } from "./options.ts";
import { type Progress, showProgress } from "./progress.ts";
import { readRows } from "./read-rows.ts";
import { counted, type Faults, list, report } from "./report.ts";
import { sendImport } from "./send-import.ts";

/** The faults that are kept, as many as the shop does. */
const KEPT = 1_000;
const WHO =
  "\nThe import needs the environment variable CARTWRIGHT_TOKEN with an API key, made by: npm run admin -- create-key --service import --scopes catalog-write";

async function send(options: Options, faults: Faults, progress: Progress): Promise<ImportProductsResponse> {
  const { file, mode, url, requestId, token } = options;
  const { catalog } = createClient({ baseUrl: url, transport: createGrpcTransport, token });
  let bytes = 0;
  async function* rows() {
    let [number, unreadable] = [0n, 0];
    for await (const one of readRows(file, (read) => (bytes = read))) {
      number += 1n;
      if (one.fault !== undefined && faults.size < KEPT) faults.set(number, one.fault);
      if (one.fault !== undefined && one.row.sku === "") unreadable += 1;
      yield one;
    }
    // Their products would be deleted, for they seem to be absent.
    if (mode === ImportMode.FULL && unreadable > 0) {
      throw new StartupError(
        `${counted(unreadable, "row")} cannot be read, not even the sku:\n${list([...faults].map(([row, why]) => `row ${row}: ${why}`))}The other rows are imported, and nothing was deleted. Mend the file and import it anew.`,
      );
    }
  }
  return sendImport({
    ...{ catalog, requestId, mode, rows },
    onSent: (count) => progress.report(bytes, count),
    onBreak: (why, pauseMs) => progress.tell(`${why} Going on in ${pauseMs / 1_000} s.`),
  });
}

async function run(options: Options): Promise<void> {
  const { size } = await stat(options.file).catch((error: NodeJS.ErrnoException) => {
    throw new StartupError(`${options.file} cannot be read: ${error.message}.`);
  });
  const progress = showProgress(process.stderr, size);
  const faults: Faults = new Map();
  const startMs = performance.now();
  try {
    const answer = await send(options, faults, progress);
    progress.stop();
    if (!(await report(options, answer, faults, performance.now() - startMs))) process.exitCode = 1;
  } catch (error) {
    progress.stop();
    if (!(error instanceof ConnectError)) throw error;
    const advice = error.code === Code.Unauthenticated || error.code === Code.PermissionDenied ? WHO : "";
    throw new StartupError(
      `The shop at ${options.url} has not taken all of it: ${error.rawMessage}${advice}\nWhat was imported so far is whole. To go on, repeat the command with --request-id ${options.requestId}`,
    );
  }
}

try {
  const options = readOptions(process.argv.slice(2), process.env);
  if (options === undefined) console.log(USAGE);
  else await run(options);
  // Connections that are kept for more calls would hold the process.
  process.exit();
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
