import { type ErrorDetails, errorDetails } from "../../client/client.ts";
import { formatCount } from "../format-count.ts";
import { formatCommand, type ImportCommandOptions } from "./options.ts";
import type { ImportResult, RowErrors } from "./report-result.ts";

/** The result of an import whose rows are written and whose deletion the service has rejected. */
export interface RejectedDeletion {
  result: ImportResult;
  /** The reason, and what to do. */
  message: string;
}

/** Returns the rejected deletion of an error; undefined for another error. */
export function readRejectedDeletion(
  error: unknown,
  options: ImportCommandOptions,
  rowErrors: RowErrors,
): RejectedDeletion | undefined {
  const details = errorDetails(error);
  const message = rejectionMessage(details, options);
  if (message === undefined) return undefined;
  const result = toResult(details, rowErrors);
  const isPartial = BigInt(result.errors.length) < result.failedCount;
  const hint = isPartial ? "\nTo list all rows that failed, import the file without --mode full." : "";
  return { result, message: `${message}${hint}` };
}

/** Returns the message for a rejected deletion; undefined for another reason. */
function rejectionMessage(
  { reason, message, metadata }: ErrorDetails,
  options: ImportCommandOptions,
): string | undefined {
  if (reason === "IMPORT_EMPTY") return message;
  if (reason === "IMPORT_SKU_INVALID") {
    return "Nothing was deleted: rows without a valid sku may describe any product. Correct the file and import it again.";
  }
  if (reason !== "IMPORT_TOO_MANY_DELETES") return undefined;
  const count = (name: string) => formatCount(toCount(metadata[name]));
  const deleted =
    toCount(metadata.deleted_count) === 0n
      ? "Nothing was deleted"
      : `${count("deleted_count")} of them were deleted`;
  const limit =
    options.maxDeletes === undefined
      ? `the ${count("max_deletes")} that may be deleted by default`
      : `--max-deletes ${options.maxDeletes}`;
  const command = formatCommand({ ...options, maxDeletes: toCount(metadata.delete_count) });
  return `${deleted}: ${count("delete_count")} of ${count("product_count")} products are missing in ${options.file}, more than ${limit}.\nIf the file is complete and they are to be deleted, run:\n  ${command}`;
}

/** Returns the counts of the error details, and the errors of rows that are known. */
function toResult(details: ErrorDetails, rowErrors: RowErrors): ImportResult {
  const { metadata } = details;
  const descriptions = namedRows(details);
  const rowNumbers = [...new Set([...rowErrors.keys(), ...descriptions.keys()])];
  return {
    rowCount: toCount(metadata.row_count),
    createdCount: toCount(metadata.created_count),
    updatedCount: toCount(metadata.updated_count),
    unchangedCount: toCount(metadata.unchanged_count),
    deletedCount: toCount(metadata.deleted_count),
    failedCount: toCount(metadata.failed_count),
    errors: rowNumbers
      .sort((a, b) => Number(a - b))
      .map((rowNumber) => ({
        rowNumber,
        sku: "",
        field: "sku",
        description: descriptions.get(rowNumber) ?? "",
      })),
    replayed: false,
  };
}

/** Returns the descriptions of the rows that the error details name, by row number. */
function namedRows({ metadata, preconditions }: ErrorDetails): Map<bigint, string> {
  const numbers = metadata.row_numbers?.match(/\d+/g) ?? [];
  return new Map(numbers.map((number, index) => [BigInt(number), preconditions[index]?.description ?? ""]));
}

function toCount(text: string | undefined): bigint {
  return BigInt(text ?? 0);
}
