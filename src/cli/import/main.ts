import { createGrpcTransport } from "@connectrpc/connect-node";
import { Code, ConnectError, createClient, type ImportProductsResponse } from "../../client/client.ts";
import { createLog } from "../../infra/log.ts";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import { formatCount, formatQuantity } from "../format-count.ts";
import { loadCommandConfig } from "../load-command-config.ts";
import { createProgressBar, type ProgressBar } from "../progress-bar.ts";
import { runCommand } from "../run-command.ts";
import { assertService } from "./assert-service.ts";
import { formatCommand, type ImportCommandOptions, readOptions, USAGE } from "./options.ts";
import { readRows } from "./read-rows.ts";
import { checkCompression, readSize } from "./read-text.ts";
import { readRejectedDeletion } from "./rejected-deletion.ts";
import { type ImportResult, type RowErrors, reportResult } from "./report-result.ts";
import { IncompleteFileError, sendImport } from "./send-import.ts";
import { readToken, serviceAddress, TOKEN_HINT } from "./service-address.ts";

/** Maximum number of kept errors: as many as the service keeps. */
const MAX_ERRORS = 1_000;

const log = createLog("warn", process.stderr);

/** The service to import into. */
interface Target {
  url: string;
  token: string | undefined;
}

/** Sends the rows of the file, and collects the errors of unreadable rows. */
async function sendFile(
  { file, maxCellLines, ...options }: ImportCommandOptions,
  { url, token }: Target,
  rowErrors: RowErrors,
  fileBytes: number,
  progress: ProgressBar,
): Promise<ImportProductsResponse> {
  const onRetry = (reason: string, delayMs: number) =>
    progress.writeLine(`${reason} Retrying in ${(delayMs / 1_000).toFixed(1)} s.`);
  await assertService(url, onRetry);
  const { catalog } = createClient({ baseUrl: url, transport: createGrpcTransport, token });
  let bytesRead = 0;
  async function* rows() {
    let number = 0n;
    for await (const row of readRows(file, { maxCellLines, onRead: (bytes) => (bytesRead = bytes) })) {
      number += 1n;
      if (row.error !== undefined && rowErrors.size < MAX_ERRORS) rowErrors.set(number, row.error);
      yield row;
    }
  }
  return sendImport({
    ...options,
    catalog,
    rows,
    onSent: (count) =>
      progress.update({ done: bytesRead, total: fileBytes, label: `${formatCount(count)} rows sent` }),
    onRetry,
  });
}

async function importFile(options: ImportCommandOptions): Promise<void> {
  const { config, env } = loadCommandConfig(log);
  const target = { url: options.url ?? serviceAddress(config), token: readToken(env, config) };
  const size = await readSize(options.file);
  await checkCompression(options.file);
  const progress = createProgressBar(process.stderr);
  const rowErrors: RowErrors = new Map();
  const startMs = performance.now();
  const report = async (result: ImportResult) => {
    progress.stop();
    const isComplete = await reportResult(options, result, rowErrors, performance.now() - startMs);
    if (!isComplete) process.exitCode = 1;
  };
  try {
    await report(await sendFile(options, target, rowErrors, size, progress));
  } catch (error) {
    progress.stop();
    const rejected = readRejectedDeletion(error, options, rowErrors);
    if (rejected === undefined) throw toStartupError(error, options, target);
    await report(rejected.result);
    throw new StartupError(rejected.message);
  }
}

/** Returns the error that ends the command for an error of the import; other errors are returned as they are. */
function toStartupError(error: unknown, options: ImportCommandOptions, { url }: Target): unknown {
  if (error instanceof IncompleteFileError) {
    const rows = formatQuantity(error.rowCount, "row");
    return new StartupError(
      `${errorMessage(error.cause)} The ${rows} before that are imported as far as they are valid, and nothing was deleted. Correct the file and import it again.`,
    );
  }
  if (!(error instanceof ConnectError)) return error;
  const isTokenRejected = error.code === Code.Unauthenticated || error.code === Code.PermissionDenied;
  if (isTokenRejected) {
    return new StartupError(`The import to ${url} failed: ${error.rawMessage}\n${TOKEN_HINT}`);
  }
  return new StartupError(
    `The import to ${url} failed: ${error.rawMessage}\nEverything imported so far is complete. To resume, run:\n  ${formatCommand(options)}`,
  );
}

await runCommand({ name: "import", usage: USAGE, readOptions, run: importFile });
// Connections that are kept open for more calls would keep the process running.
process.exit();
