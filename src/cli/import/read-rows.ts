import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ConnectError, type ImportRow, ImportRowSchema } from "../../client/client.ts";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import { normalizeNumbers } from "../../rpc/validation/json-numbers.ts";
import { checkHeader, containsRows, findNumberError, toJson } from "./csv-columns.ts";
import { type CsvRecord, readCsv } from "./read-csv.ts";
import { readLines, readText } from "./read-text.ts";

/** A row of a file. */
export interface FileRow {
  message: ImportRow;
  /** Approximate size of the message in bytes. */
  bytes: number;
  /** Error of reading the row, which is then sent with at most its sku and rejected by the service. */
  error: RowReadError | undefined;
}

/** Error of a row that cannot be read. */
export interface RowReadError {
  description: string;
  /** Numbers of the first and the last line of the row; the first line of the file is 1. */
  lines: readonly [first: number, last: number];
}

/** Options of reading a file. */
export interface ReadOptions {
  /** Maximum number of lines of a quoted cell of a CSV file. */
  maxCellLines: number;
  /** Receives the number of bytes of the file that have been read. */
  onRead(bytes: number): void;
}

/** Returns whether the name of a file has a supported extension. */
export function isSupportedFile(path: string): boolean {
  return /\.(ndjson|jsonl|csv)(\.gz)?$/.test(path);
}

/**
 * Reads the rows of a file: CSV, or JSON lines. A row that cannot be read is returned with an error, so that rows
 * have the same numbers as in the file.
 * @throws StartupError when the file cannot be read or its CSV header is invalid
 */
export function readRows(path: string, { maxCellLines, onRead }: ReadOptions): AsyncGenerator<FileRow> {
  const text = readText(path, onRead);
  return /\.csv(\.gz)?$/.test(path)
    ? readCsvRows(readCsv(text, maxCellLines))
    : readJsonRows(readLines(text));
}

async function* readJsonRows(lines: AsyncIterable<string>): AsyncGenerator<FileRow> {
  let number = 0;
  for await (const line of lines) {
    number += 1;
    if (line.trim() === "") continue;
    let value: JsonValue;
    try {
      value = JSON.parse(line);
    } catch (error) {
      yield unreadableRow("", errorMessage(error), [number, number]);
      continue;
    }
    yield toRow(value, line.length, [number, number]);
  }
}

async function* readCsvRows(records: AsyncIterable<CsvRecord>): AsyncGenerator<FileRow> {
  let columns: string[] | undefined;
  for await (const record of records) {
    if (columns === undefined) columns = checkHeader(record.cells, record.error);
    else yield toCsvRow(columns, record);
  }
  if (columns === undefined) {
    throw new StartupError("The file is empty: its first line must name the columns.");
  }
}

function toCsvRow(columns: readonly string[], { cells, line, lastLine, error }: CsvRecord): FileRow {
  const lines = [line, lastLine] as const;
  if (error !== undefined) return unreadableRow("", error, lines);
  if (cells.length !== columns.length) {
    return unreadableRow("", `it has ${cells.length} cells, but the header has ${columns.length}`, lines);
  }
  if (line < lastLine && cells.some((cell, index) => containsRows(columns, cell, index))) {
    return unreadableRow(
      "",
      "a quoted cell contains other rows, so a quote is misplaced and none of these lines is imported",
      lines,
    );
  }
  const numberError = findNumberError(columns, cells);
  if (numberError !== undefined) {
    return unreadableRow(cells[columns.indexOf("sku")] ?? "", numberError, lines);
  }
  return toRow(toJson(columns, cells), cells.join().length, lines);
}

function toRow(value: JsonValue, bytes: number, lines: RowReadError["lines"]): FileRow {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return unreadableRow("", "it is not a JSON object", lines);
  }
  try {
    // As the service reads JSON: the library alone accepts "0x10" and " 7 ".
    const { value: normalized } = normalizeNumbers(ImportRowSchema, value);
    return { message: fromJson(ImportRowSchema, normalized), bytes, error: undefined };
  } catch (error) {
    const sku = typeof value.sku === "string" ? value.sku : "";
    return unreadableRow(sku, describeDecodeError(error), lines);
  }
}

/** Returns the message of an error. That of the library is shortened to the field and what is wrong with it. */
function describeDecodeError(error: unknown): string {
  if (error instanceof ConnectError) return error.rawMessage;
  return errorMessage(error)
    .replace(/^cannot decode \w+ [\w.]*?(\w+) from JSON: /, "$1: ")
    .replace(/expected bigint \(int64\): (.*?)(?: out of range)?$/, "must be a whole number, not $1");
}

function unreadableRow(sku: string, description: string, lines: RowReadError["lines"]): FileRow {
  return { message: create(ImportRowSchema, { sku }), bytes: sku.length, error: { description, lines } };
}
