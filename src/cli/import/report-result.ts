import { writeFile } from "node:fs/promises";
import type { ImportProductsResponse } from "../../client/client.ts";
import { formatCount, formatQuantity } from "../format-count.ts";
import type { ImportCommandOptions } from "./options.ts";
import type { RowReadError } from "./read-rows.ts";

/** Maximum number of error lines that are shown. */
const MAX_LINES = 20;

/** Errors of reading the file, by row number. */
export type RowErrors = Map<bigint, RowReadError>;

/** The result of an import: a response of the service, or what is known of one. */
export type ImportResult = Omit<ImportProductsResponse, "$typeName" | "$unknown" | "errors"> & {
  errors: { rowNumber: bigint; sku: string; field: string; description: string }[];
};

/** An error of a row, as the file for the errors has it. */
interface ReportedError {
  row: number;
  /** First line of a row that cannot be read. */
  line?: number;
  sku: string;
  field: string;
  description: string;
}

/**
 * Writes the result of an import to standard output, and its errors to the file of the options.
 * @returns whether all rows were imported
 */
export async function reportResult(
  { requestId, errorsFile }: Pick<ImportCommandOptions, "requestId" | "errorsFile">,
  result: ImportResult,
  rowErrors: RowErrors,
  durationMs: number,
): Promise<boolean> {
  process.stdout.write(`${formatSummary(result, durationMs)}\n`);
  const { errors, failedCount } = result;
  process.stdout.write(formatList(errors.map((error) => formatError(error, rowErrors))));
  if (errorsFile !== undefined) {
    const lines = errors.map((error) => `${JSON.stringify(toReportedError(error, rowErrors))}\n`);
    await writeFile(errorsFile, lines.join(""));
    const isPartial = BigInt(errors.length) < failedCount;
    const limit = isPartial ? `, of ${formatCount(failedCount)}` : "";
    process.stdout.write(`${formatQuantity(errors.length, "error")} written to ${errorsFile}${limit}.\n`);
  } else if (errors.length > MAX_LINES) {
    process.stdout.write(`To write them to a file: --request-id ${requestId} --errors FILE\n`);
  }
  return failedCount === 0n;
}

function toReportedError(
  { rowNumber, sku, field, description }: ImportResult["errors"][number],
  rowErrors: RowErrors,
): ReportedError {
  const row = Number(rowNumber);
  const readError = rowErrors.get(rowNumber);
  if (readError === undefined) return { row, sku, field, description };
  return { row, line: readError.lines[0], sku, field: "", description: readError.description };
}

/** Returns a line such as `row 3, line 4, SKU-3: price: is required`. */
function formatError(error: ImportResult["errors"][number], rowErrors: RowErrors): string {
  const { row, sku, field, description } = toReportedError(error, rowErrors);
  const [first, last] = rowErrors.get(error.rowNumber)?.lines ?? [];
  const lines = first === undefined ? "" : first === last ? `line ${first}` : `lines ${first} to ${last}`;
  const position = [`row ${row}`, lines, sku, field].filter((part) => part !== "").join(", ");
  return `${position}: ${description}`;
}

/** Returns the first lines, indented, and the number of the others. */
function formatList(lines: readonly string[]): string {
  const rest = lines.length - MAX_LINES;
  const shown = lines.slice(0, MAX_LINES).map((line) => `  ${line}\n`);
  if (rest > 0) shown.push(`  and ${formatCount(rest)} more\n`);
  return shown.join("");
}

function formatSummary(result: ImportResult, durationMs: number): string {
  const counts = Object.entries({
    created: result.createdCount,
    updated: result.updatedCount,
    unchanged: result.unchangedCount,
    deleted: result.deletedCount,
    failed: result.failedCount,
  });
  const results = counts.map(([name, count]) => `${formatCount(count)} ${name}`).join(", ");
  const time = result.replayed ? "by an earlier run" : `in ${(durationMs / 1_000).toFixed(1)} s`;
  return `Imported ${formatQuantity(result.rowCount, "row")} ${time}: ${results}.`;
}
