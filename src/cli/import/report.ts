import { writeFile } from "node:fs/promises";
import type { ImportProductsResponse } from "../../client/client.ts";
import type { Options } from "./options.ts";

/** The errors that are shown. */
const SHOWN = 20;

/** Reasons that the shop cannot know, by the numbers of their rows. */
export type Faults = Map<bigint, string>;

/** How many of something, in words. */
export const counted = (count: number | bigint, what: string) =>
  `${count.toLocaleString("en")} ${what}${Number(count) === 1 ? "" : "s"}`;

/** The first of some lines, and how many more there are. */
export function list(lines: readonly string[]): string {
  const rest = lines.length - SHOWN;
  const shown = lines.slice(0, SHOWN).map((line) => `  ${line}\n`);
  return [...shown, ...(rest > 0 ? [`  and ${rest.toLocaleString("en")} more\n`] : [])].join("");
}

/** Tells what an import did. @returns whether all rows were imported */
export async function report(
  { requestId, errors: path }: Options,
  { errors, replayed, ...counts }: ImportProductsResponse,
  faults: Faults,
  ms: number,
): Promise<boolean> {
  const { rowCount, createdCount, updatedCount, unchangedCount, deletedCount, failedCount } = counts;
  const each = Object.entries({
    created: createdCount,
    changed: updatedCount,
    unchanged: unchangedCount,
    deleted: deletedCount,
    failed: failedCount,
  });
  const words = each.map(([what, count]) => `${count.toLocaleString("en")} ${what}`).join(", ");
  const time = replayed ? "before; nothing was done now" : `in ${(ms / 1_000).toFixed(1)} s`;
  console.log(`Imported ${counted(rowCount, "row")} ${time}: ${words}.`);
  const told = errors.map(({ rowNumber, sku, field, description }) => {
    const why = faults.get(rowNumber);
    return { row: Number(rowNumber), sku, field: why ? "" : field, description: why ?? description };
  });
  const lines = told.map(({ row, sku, field, description }) => {
    const place = [`row ${row}`, ...(sku ? [sku] : []), ...(field ? [field] : [])].join(", ");
    return `${place}: ${description}`;
  });
  process.stdout.write(list(lines));
  if (path !== undefined) {
    await writeFile(path, told.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const all = BigInt(told.length) < failedCount ? `, the first of ${failedCount.toLocaleString("en")}` : "";
    console.log(`${counted(told.length, "error")} written to ${path}${all}.`);
  } else if (lines.length > SHOWN) {
    console.log(`To have them in a file: --request-id ${requestId} --errors FILE`);
  }
  return failedCount === 0n;
}
