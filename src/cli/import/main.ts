import { stat } from "node:fs/promises";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  Code,
  ConnectError,
  createClient,
  ImportMode,
  type ImportProductsResponse,
} from "../../client/client.ts";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import { formatCount, formatQuantity } from "../format-count.ts";
import { createProgressBar, type ProgressBar } from "../progress-bar.ts";
import { runCommand } from "../run-command.ts";
import { type ImportCommandOptions, readOptions, USAGE } from "./options.ts";
import { readRows } from "./read-rows.ts";
import { formatList, type RowErrors, reportResult } from "./report-result.ts";
import { sendImport } from "./send-import.ts";

/** Maximum number of kept errors: as many as the service keeps. */
const MAX_ERRORS = 1_000;
const TOKEN_HINT =
  "\nThe import needs an API key in the environment variable CARTWRIGHT_TOKEN. To create one: npm run admin -- create-key --service import --scopes catalog-write";

/** Sends the rows of the file, and collects the errors of unreadable rows. */
function sendFile(
  { file, mode, url, requestId, token }: ImportCommandOptions,
  rowErrors: RowErrors,
  fileBytes: number,
  progress: ProgressBar,
): Promise<ImportProductsResponse> {
  const { catalog } = createClient({ baseUrl: url, transport: createGrpcTransport, token });
  let bytesRead = 0;
  async function* rows() {
    let [number, withoutSku] = [0n, 0];
    for await (const row of readRows(file, (bytes) => (bytesRead = bytes))) {
      number += 1n;
      if (row.error !== undefined && rowErrors.size < MAX_ERRORS) rowErrors.set(number, row.error);
      if (row.error !== undefined && row.message.sku === "") withoutSku += 1;
      yield row;
    }
    // A full import would delete their products, as they seem to be absent.
    if (mode === ImportMode.FULL && withoutSku > 0) {
      const errors = formatList([...rowErrors].map(([row, error]) => `row ${row}: ${error}`));
      throw new StartupError(
        `${formatQuantity(withoutSku, "row")} cannot be read, not even the sku:\n${errors}The other rows are imported, and nothing was deleted. Correct the file and import it again.`,
      );
    }
  }
  return sendImport({
    catalog,
    requestId,
    mode,
    rows,
    onSent: (count) =>
      progress.update({ done: bytesRead, total: fileBytes, label: `${formatCount(count)} rows sent` }),
    onRetry: (reason, delayMs) =>
      progress.writeLine(`${reason} Retrying in ${(delayMs / 1_000).toFixed(1)} s.`),
  });
}

async function importFile(options: ImportCommandOptions): Promise<void> {
  const { size } = await stat(options.file).catch((error: unknown) => {
    throw new StartupError(`${options.file} cannot be read: ${errorMessage(error)}.`);
  });
  const progress = createProgressBar(process.stderr);
  const rowErrors: RowErrors = new Map();
  const startMs = performance.now();
  try {
    const response = await sendFile(options, rowErrors, size, progress);
    progress.stop();
    const isComplete = await reportResult(options, response, rowErrors, performance.now() - startMs);
    if (!isComplete) process.exitCode = 1;
  } catch (error) {
    progress.stop();
    if (!(error instanceof ConnectError)) throw error;
    const hint =
      error.code === Code.Unauthenticated || error.code === Code.PermissionDenied ? TOKEN_HINT : "";
    throw new StartupError(
      `The import to ${options.url} failed: ${error.rawMessage}${hint}\nEverything imported so far is complete. To resume, repeat the command with --request-id ${options.requestId}`,
    );
  }
}

await runCommand({
  usage: USAGE,
  readOptions: (args) => readOptions(args, process.env),
  run: importFile,
});
// Connections that are kept open for more calls would keep the process running.
process.exit();
