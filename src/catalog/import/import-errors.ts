import { AppError, type StateViolation } from "../../kernel/errors.ts";
import type { ImportProgress } from "./progress.ts";

/** Maximum number of rows that one error names. */
const MAX_NAMED_ROWS = 10;

/** Description of a row whose sku another row of the import has. */
export const DUPLICATE_SKU = "occurs more than once in this import";

/** Returns failed_precondition for the missing rows from offset `next` up to `offset`. */
export function missingRowsError(offset: number, next: number): AppError {
  const description = `rows ${next + 1} to ${offset} are missing`;
  return new AppError("failed_precondition", `The import has a gap: ${description}. Resume with them.`, {
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: String(next) },
    preconditions: [{ type: "OFFSET", subject: "offset", description }],
  });
}

/** Returns failed_precondition for an import of mode FULL without a valid row. */
export function noValidRowError(requestId: string, progress: ImportProgress): AppError {
  const description = "no row is valid, so all products would be deleted";
  return rejectedDeletion(
    "IMPORT_EMPTY",
    `The import failed: ${description}. Nothing was deleted.`,
    progress,
    [{ type: "ROWS", subject: `imports/${requestId}`, description }],
  );
}

/** Returns failed_precondition for an import of mode FULL in which rows have no valid sku. */
export function invalidSkuError(progress: ImportProgress): AppError {
  const { unidentifiedCount, errors } = progress;
  const named = errors
    .filter(({ field, description }) => field === "sku" && description !== DUPLICATE_SKU)
    .slice(0, MAX_NAMED_ROWS);
  const rejected = rejectedDeletion(
    "IMPORT_SKU_INVALID",
    `${unidentifiedCount} of ${progress.rowCount} rows have no valid sku, so the products that they describe are unknown and could be deleted by mistake. Nothing was deleted. Correct the rows and import all of them under a new request_id.`,
    progress,
    named.map(({ rowNumber, description }) => ({
      type: "SKU",
      subject: `rows/${rowNumber}`,
      description,
    })),
  );
  return withMetadata(rejected, { row_numbers: named.map(({ rowNumber }) => rowNumber).join(",") });
}

/** Numbers of products that decide whether an import may delete. */
export interface DeletePlan {
  /** Products before the import, those that it has deleted included. */
  productCount: number;
  /** Products that the import does not contain, those that it has deleted included. */
  deleteCount: number;
  /** Maximum number of products that it may delete. */
  maxDeletes: number;
}

/** Returns failed_precondition for an import that would delete more products than it may. */
export function tooManyDeletesError(
  requestId: string,
  progress: ImportProgress,
  { productCount, deleteCount, maxDeletes }: DeletePlan,
): AppError {
  const { deletedCount } = progress;
  const description = `${deleteCount} of ${productCount} products would be deleted; at most ${maxDeletes} may be`;
  const deleted = deletedCount === 0 ? "Nothing was deleted" : `${deletedCount} of them were deleted`;
  const rejected = rejectedDeletion(
    "IMPORT_TOO_MANY_DELETES",
    `${description}. ${deleted}; the valid rows are imported. If all of them are to be deleted, repeat the import with the same request_id and max_deletes ${deleteCount}.`,
    progress,
    [{ type: "DELETES", subject: `imports/${requestId}`, description }],
  );
  const counts = { delete_count: deleteCount, product_count: productCount, max_deletes: maxDeletes };
  return withMetadata(rejected, toMetadata(counts));
}

/** Returns failed_precondition for an import whose rows are written and whose deletion is rejected, with its counts. */
function rejectedDeletion(
  reason: string,
  message: string,
  progress: ImportProgress,
  preconditions: StateViolation[],
): AppError {
  const metadata = toMetadata({
    row_count: progress.rowCount,
    created_count: progress.createdCount,
    updated_count: progress.updatedCount,
    unchanged_count: progress.unchangedCount,
    deleted_count: progress.deletedCount,
    failed_count: progress.failedCount,
  });
  return new AppError("failed_precondition", message, { reason, metadata, preconditions });
}

function withMetadata(
  { code, message, details }: AppError,
  metadata: Readonly<Record<string, string>>,
): AppError {
  return new AppError(code, message, { ...details, metadata: { ...details.metadata, ...metadata } });
}

function toMetadata(counts: Record<string, number>): Record<string, string> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, String(count)]));
}
