import { create, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { type ImportRow, ImportRowSchema } from "../../client/client.ts";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import { type CsvRecord, readCsv } from "./read-csv.ts";
import { readLines, readText } from "./read-text.ts";

/** A row of a file. */
export interface FileRow {
  message: ImportRow;
  /** Approximate size of the message in bytes. */
  bytes: number;
  /** Error of reading the row, which is then sent with at most its sku and rejected by the service. */
  error: string | undefined;
}

const REQUIRED_COLUMNS = ["sku", "name", "category_slug", "price_minor_units", "currency_code"];
const OPTIONAL_COLUMNS = ["description", "brand", "stock_quantity", "image_uri"];
const ATTRIBUTE_PREFIX = "attributes.";

/** Returns whether the name of a file has a supported extension. */
export function isSupportedFile(path: string): boolean {
  return /\.(ndjson|jsonl|csv)(\.gz)?$/.test(path);
}

/**
 * Reads the rows of a file: CSV, or JSON lines. A row that cannot be read is returned with an error, so that rows
 * have the same numbers as in the file.
 * @throws StartupError when the file cannot be read or its CSV header is invalid
 */
export function readRows(path: string, onRead: (bytes: number) => void): AsyncGenerator<FileRow> {
  const text = readText(path, onRead);
  return /\.csv(\.gz)?$/.test(path) ? readCsvRows(readCsv(text)) : readJsonRows(readLines(text));
}

async function* readJsonRows(lines: AsyncIterable<string>): AsyncGenerator<FileRow> {
  for await (const line of lines) {
    if (line.trim() === "") continue;
    let value: JsonValue;
    try {
      value = JSON.parse(line);
    } catch (error) {
      yield unreadableRow("", errorMessage(error));
      continue;
    }
    yield toRow(value, line.length);
  }
}

async function* readCsvRows(records: AsyncIterable<CsvRecord>): AsyncGenerator<FileRow> {
  let columns: string[] | undefined;
  for await (const { cells, error } of records) {
    if (columns === undefined) columns = checkHeader(cells, error);
    else if (error !== undefined) yield unreadableRow("", error);
    else if (cells.length !== columns.length) {
      yield unreadableRow("", `it has ${cells.length} cells, but the header has ${columns.length}`);
    } else yield toRow(toJson(columns, cells), cells.join().length);
  }
  if (columns === undefined) {
    throw new StartupError("The file is empty: its first line must name the columns.");
  }
}

/**
 * Checks the header of a CSV file.
 * @returns the names of the columns
 * @throws StartupError for an invalid header
 */
function checkHeader(cells: string[], error: string | undefined): string[] {
  const known = [...REQUIRED_COLUMNS, ...OPTIONAL_COLUMNS];
  const missing = REQUIRED_COLUMNS.filter((name) => !cells.includes(name));
  const unknown = cells.filter((name) => !known.includes(name) && !name.startsWith(ATTRIBUTE_PREFIX));
  const duplicate = cells.filter((name, index) => cells.indexOf(name) !== index);
  const errors = [
    ...(error === undefined ? [] : [error]),
    ...missing.map((name) => `${name} is missing`),
    ...unknown.map((name) => `${JSON.stringify(name)} is unknown`),
    ...duplicate.map((name) => `${name} occurs twice`),
  ];
  if (errors.length === 0) return cells;
  throw new StartupError(
    `The first line must name the columns: ${errors.join("; ")}.\nColumns are ${known.join(", ")} and ${ATTRIBUTE_PREFIX}<name>; the first ${REQUIRED_COLUMNS.length} are required.`,
  );
}

/** Returns the row in the JSON of the contract. Empty cells are absent fields. */
function toJson(columns: readonly string[], cells: readonly string[]): JsonObject {
  const row: JsonObject = {};
  const price: JsonObject = {};
  const attributes: [name: string, value: string][] = [];
  for (const [index, column] of columns.entries()) {
    const cell = cells[index] ?? "";
    if (cell === "") continue;
    if (column === "price_minor_units") price.minorUnits = cell;
    else if (column === "currency_code") price.currencyCode = cell;
    else if (column.startsWith(ATTRIBUTE_PREFIX))
      attributes.push([column.slice(ATTRIBUTE_PREFIX.length), cell]);
    else row[column] = cell;
  }
  return { ...row, attributes: Object.fromEntries(attributes), price };
}

function toRow(value: JsonValue, bytes: number): FileRow {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return unreadableRow("", "it is not a JSON object");
  }
  try {
    return { message: fromJson(ImportRowSchema, value), bytes, error: undefined };
  } catch (error) {
    const sku = typeof value.sku === "string" ? value.sku : "";
    // The prefix of the library names the message and the field; the field is enough.
    const reason = errorMessage(error).replace(/^cannot decode \w+ [\w.]*?(\w+) from JSON: /, "$1: ");
    return unreadableRow(sku, reason);
  }
}

function unreadableRow(sku: string, error: string): FileRow {
  return { message: create(ImportRowSchema, { sku }), bytes: sku.length, error };
}
