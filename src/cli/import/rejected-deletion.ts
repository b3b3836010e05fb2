import { type ErrorDetails, errorDetails } from "../../client/client.ts";
import { formatCount } from "../format-count.ts";
import type { ImportCommandOptions } from "./options.ts";
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
  options: Pick<ImportCommandOptions, "file" | "maxDeletes" | "requestId">,
  rowErrors: RowErrors,
): RejectedDeletion | undefined {
  const details = errorDetails(error);
  const message = describe(details, options);
  if (message === undefined) return undefined;
  const result = toResult(details, rowErrors);
  const isPartial = BigInt(result.errors.length) < result.failedCount;
  const hint = isPartial ? "\nTo list all rows that failed, import the file without --mode full." : "";
  return { result, message: `${message}${hint}` };
}

function describe(
  { reason, message, metadata }: ErrorDetails,
  { file, maxDeletes, requestId }: Pick<ImportCommandOptions, "file" | "maxDeletes" | "requestId">,
): string | undefined {
  if (reason === "IMPORT_EMPTY") return message;
  if (reason === "IMPORT_SKU_INVALID") {
    return "Nothing was deleted: rows without a valid sku may describe any product. Correct the file and import it again.";
  }
  if (reason !== "IMPORT_TOO_MANY_DELETES") return undefined;
  const count = (name: string) => formatCount(toCount(metadata[name]));
  const origin = maxDeletes === undefined ? " (5 percent)" : "";
  const deletedCount = toCount(metadata.deleted_count);
  const deleted =
    deletedCount === 0n ? "Nothing was deleted" : `${formatCount(deletedCount)} of them were deleted`;
  return `${deleted}: ${count("delete_count")} of ${count("product_count")} products are missing in ${file}, and at most ${count("max_deletes")}${origin} may be deleted. Check that the file is complete. To delete them nevertheless, repeat the command with --max-deletes ${metadata.delete_count ?? ""} --request-id ${requestId}`;
}

/** Returns the counts of the error details, and the errors of rows that are known. */
function toResult({ metadata, preconditions }: ErrorDetails, rowErrors: RowErrors): ImportResult {
  const named = preconditions
    .filter(({ type }) => type === "SKU")
    .map(({ subject, description }) => [BigInt(subject.replace(/^rows\//, "")), description] as const);
  const descriptions = new Map(named);
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

function toCount(text: string | undefined): bigint {
  return BigInt(text ?? 0);
}
