import { writeFile } from "node:fs/promises";
import type { ImportProductsResponse } from "../../client/client.ts";
import { formatCount, formatQuantity } from "../format-count.ts";
import type { ImportCommandOptions } from "./options.ts";

/** Maximum number of error lines that are shown. */
const MAX_LINES = 20;

/** Errors of reading the file, by row number. */
export type RowErrors = Map<bigint, string>;

/** Returns the first lines, indented, and the number of the others. */
export function formatList(lines: readonly string[]): string {
  const rest = lines.length - MAX_LINES;
  const shown = lines.slice(0, MAX_LINES).map((line) => `  ${line}\n`);
  if (rest > 0) shown.push(`  and ${formatCount(rest)} more\n`);
  return shown.join("");
}

/**
 * Writes the result of an import to standard output, and its errors to the file of the options.
 * @returns whether all rows were imported
 */
export async function reportResult(
  options: Pick<ImportCommandOptions, "requestId" | "errorsFile">,
  response: ImportProductsResponse,
  rowErrors: RowErrors,
  durationMs: number,
): Promise<boolean> {
  process.stdout.write(`${formatSummary(response, durationMs)}\n`);
  const errors = response.errors.map(({ rowNumber, sku, field, description }) => {
    const readError = rowErrors.get(rowNumber);
    if (readError !== undefined) return { row: Number(rowNumber), sku, field: "", description: readError };
    return { row: Number(rowNumber), sku, field, description };
  });
  const lines = errors.map(({ row, sku, field, description }) => {
    const position = [`row ${row}`, sku, field].filter((part) => part !== "").join(", ");
    return `${position}: ${description}`;
  });
  process.stdout.write(formatList(lines));
  const { requestId, errorsFile } = options;
  const { failedCount } = response;
  if (errorsFile !== undefined) {
    await writeFile(errorsFile, errors.map((error) => `${JSON.stringify(error)}\n`).join(""));
    const isPartial = BigInt(errors.length) < failedCount;
    const limit = isPartial ? `, the first of ${formatCount(failedCount)}` : "";
    process.stdout.write(`${formatQuantity(errors.length, "error")} written to ${errorsFile}${limit}.\n`);
  } else if (lines.length > MAX_LINES) {
    process.stdout.write(`To write them to a file: --request-id ${requestId} --errors FILE\n`);
  }
  return failedCount === 0n;
}

function formatSummary(response: ImportProductsResponse, durationMs: number): string {
  const counts = Object.entries({
    created: response.createdCount,
    updated: response.updatedCount,
    unchanged: response.unchangedCount,
    deleted: response.deletedCount,
    failed: response.failedCount,
  });
  const results = counts.map(([result, count]) => `${formatCount(count)} ${result}`).join(", ");
  const time = response.replayed ? "by an earlier run" : `in ${(durationMs / 1_000).toFixed(1)} s`;
  return `Imported ${formatQuantity(response.rowCount, "row")} ${time}: ${results}.`;
}
