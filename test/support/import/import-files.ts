import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type CliProcess, startCli } from "../cli/start-cli.ts";

/** Columns of the files of `csvFile`. */
const CSV_HEADER = "sku,name,category_slug,price_minor_units,currency_code,description";

/**
 * Starts the command as `npm run import --` does. Its standard error is returned without the progress lines.
 * @param env variables besides those of this process; access control is off unless they set it
 */
export function startImport(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  options: { cwd?: string } = {},
): CliProcess {
  const { child, ended } = startCli(
    "import/main.ts",
    args,
    { ...process.env, ACCESS: "off", ...env },
    options,
  );
  // On a slow machine progress lines come between the others.
  const withoutProgress = (errors: string) => errors.replaceAll(/^[\d,]+ rows sent \(\d+ %\)\n/gm, "");
  return {
    child,
    ended: ended.then((result) => ({ ...result, errors: withoutProgress(result.errors) })),
  };
}

/**
 * Writes a file to import.
 * @returns its path
 */
export async function writeImportFile(
  folder: string,
  name: string,
  content: string | Uint8Array,
): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** Returns a CSV file with a row of each sku, EUR 1.00 each, after the header. */
export function csvFile(categorySlug: string, skus: readonly string[]): string {
  return `${CSV_HEADER}\n${skus.map((sku) => csvRow(categorySlug, sku)).join("")}`;
}

/** Returns a row of such a file. */
export function csvRow(
  categorySlug: string,
  sku: string,
  { name = `Product ${sku}`, description = "" } = {},
) {
  return `${sku},${name},${categorySlug},100,EUR,${description}\n`;
}

/** Returns a line of a file: a product with this sku, EUR 1.00. */
export function importLine(sku: string, categorySlug: string, fields: object = {}): string {
  const price = { currencyCode: "EUR", minorUnits: "100" };
  return JSON.stringify({ sku, name: sku, categorySlug, price, ...fields });
}

/** Returns lines with the skus `${prefix}1` and up. */
export function importLines(
  prefix: string,
  count: number,
  categorySlug: string,
  fields: object = {},
): string {
  return Array.from(
    { length: count },
    (_, index) => `${importLine(`${prefix}${index + 1}`, categorySlug, fields)}\n`,
  ).join("");
}
