import { create, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { type ImportRow, ImportRowSchema } from "../../client/client.ts";
import { StartupError } from "../../kernel/errors.ts";
import { type CsvRecord, readCsv } from "./read-csv.ts";
import { readLines, readText } from "./read-text.ts";

/** A row of a file, as it is sent. */
export interface FileRow {
  row: ImportRow;
  /** About how many bytes it has on the wire. */
  size: number;
  /** Why it is sent with its sku at most: the shop will refuse it, and this says more than the shop can. */
  fault: string | undefined;
}

const REQUIRED = ["sku", "name", "category_slug", "price_minor_units", "currency_code"];
const OPTIONAL = ["description", "brand", "stock_quantity", "image_uri"];
const ATTRIBUTE = "attributes.";

/** Whether the files of this name hold rows that can be read. */
export function isReadable(path: string): boolean {
  return /\.(ndjson|jsonl|csv)(\.gz)?$/.test(path);
}

/**
 * The rows of a file, as CSV when its name says so, else as a JSON object a line. One that cannot be read is a
 * row too, with a fault, so that rows are numbered as they are in the file.
 * @throws StartError when the file cannot be read, or its header is not that of products
 */
export function readRows(path: string, onRead: (bytes: number) => void): AsyncGenerator<FileRow> {
  const text = readText(path, onRead);
  return /\.csv(\.gz)?$/.test(path) ? csvRows(readCsv(text)) : jsonRows(readLines(text));
}

async function* jsonRows(lines: AsyncIterable<string>): AsyncGenerator<FileRow> {
  for await (const line of lines) {
    if (line.trim() === "") continue;
    let value: JsonValue;
    try {
      value = JSON.parse(line);
    } catch (error) {
      yield faulty("", error);
      continue;
    }
    yield toRow(value, line.length);
  }
}

async function* csvRows(records: AsyncIterable<CsvRecord>): AsyncGenerator<FileRow> {
  let columns: string[] | undefined;
  for await (const { cells, fault } of records) {
    if (columns === undefined) columns = header(cells, fault);
    else if (fault !== undefined) yield faulty("", fault);
    else if (cells.length !== columns.length) {
      yield faulty("", `it has ${cells.length} cells, and the header ${columns.length}`);
    } else yield toRow(toJson(columns, cells), cells.join().length);
  }
  if (columns === undefined)
    throw new StartupError("The file is empty: its first line must name the columns.");
}

function header(cells: string[], fault: string | undefined): string[] {
  const known = [...REQUIRED, ...OPTIONAL];
  const missing = REQUIRED.filter((name) => !cells.includes(name));
  const unknown = cells.filter((name) => !known.includes(name) && !name.startsWith(ATTRIBUTE));
  const twice = cells.filter((name, index) => cells.indexOf(name) !== index);
  const mistakes = [
    ...(fault === undefined ? [] : [fault]),
    ...missing.map((name) => `${name} is missing`),
    ...unknown.map((name) => `${JSON.stringify(name)} is no column`),
    ...twice.map((name) => `${name} is there twice`),
  ];
  if (mistakes.length === 0) return cells;
  throw new StartupError(
    `The first line must name the columns: ${mistakes.join("; ")}.\nColumns are ${known.join(", ")} and ${ATTRIBUTE}<name>; the first ${REQUIRED.length} are required.`,
  );
}

/** Empty cells are absent: nothing that is required has an empty value. */
function toJson(columns: readonly string[], cells: readonly string[]): JsonObject {
  const filled = columns.flatMap((name, index): [string, string][] => {
    const cell = cells[index] ?? "";
    return cell === "" ? [] : [[name, cell]];
  });
  const fields = Object.fromEntries(filled.filter(([name]) => !name.startsWith(ATTRIBUTE)));
  const { price_minor_units: minorUnits, currency_code: currencyCode, ...row } = fields;
  const attributes = Object.fromEntries(
    filled
      .filter(([name]) => name.startsWith(ATTRIBUTE))
      .map(([name, cell]) => [name.slice(ATTRIBUTE.length), cell]),
  );
  const price = { ...(minorUnits && { minorUnits }), ...(currencyCode && { currencyCode }) };
  return { ...row, attributes, price };
}

function toRow(value: JsonValue, size: number): FileRow {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return faulty("", "it is no JSON object");
  }
  try {
    return { row: fromJson(ImportRowSchema, value), size, fault: undefined };
  } catch (error) {
    return faulty(typeof value.sku === "string" ? value.sku : "", error);
  }
}

function faulty(sku: string, why: unknown): FileRow {
  const text = why instanceof Error ? why.message : String(why);
  const fault = text.replace(/^cannot decode \w+ [\w.]*?(\w+) from JSON: /, "$1: ");
  return { row: create(ImportRowSchema, { sku }), size: sku.length, fault };
}
