import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type CliProcess, startCli } from "../cli/start-cli.ts";

/** Starts the command as `npm run import --` does. Its standard error is returned without the progress lines. */
export function startImport(args: readonly string[], env: NodeJS.ProcessEnv = {}): CliProcess {
  const { child, ended } = startCli("import/main.ts", args, { ...process.env, ...env });
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
