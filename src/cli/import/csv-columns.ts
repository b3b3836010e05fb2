import type { JsonObject } from "@bufbuild/protobuf";
import { quoted, StartupError } from "../../kernel/errors.ts";

const REQUIRED_COLUMNS = ["sku", "name", "price_minor_units", "currency_code"];
/** One of these is required. */
const CATEGORY_COLUMNS = ["category_slug", "category_id"];
const OPTIONAL_COLUMNS = ["description", "brand", "stock_quantity", "image_uri", "tax_class", "weight_grams"];
const NUMBER_COLUMNS = ["price_minor_units", "stock_quantity", "weight_grams"];
/** Values of empty cells. An absent field would leave them unchanged in existing products. */
const EMPTY_VALUES: ReadonlyMap<string, string> = new Map([
  ["tax_class", ""],
  ["weight_grams", "0"],
]);
const ATTRIBUTE_PREFIX = "attributes.";

/**
 * Checks the header of a CSV file.
 * @returns the names of the columns
 * @throws StartupError for an invalid header
 */
export function checkHeader(cells: string[], error: string | undefined): string[] {
  const known = [...REQUIRED_COLUMNS, ...CATEGORY_COLUMNS, ...OPTIONAL_COLUMNS];
  const missing = REQUIRED_COLUMNS.filter((name) => !cells.includes(name));
  const unknown = cells.filter((name) => !known.includes(name) && !name.startsWith(ATTRIBUTE_PREFIX));
  const duplicate = cells.filter((name, index) => cells.indexOf(name) !== index);
  const errors = [
    ...(error === undefined ? [] : [error]),
    ...missing.map((name) => `${name} is missing`),
    ...(CATEGORY_COLUMNS.some((name) => cells.includes(name))
      ? []
      : [`${CATEGORY_COLUMNS.join(" or ")} is missing`]),
    ...unknown.map((name) => `${JSON.stringify(name)} is unknown`),
    ...duplicate.map((name) => `${name} occurs twice`),
  ];
  if (errors.length === 0) return cells;
  const hint = cells.length === 1 && cells[0]?.includes(";") ? "\nSeparate the cells by commas." : "";
  throw new StartupError(
    `The first line must name the columns: ${errors.join("; ")}.${hint}\nColumns are ${known.join(", ")} and ${ATTRIBUTE_PREFIX}<name>. Required are ${REQUIRED_COLUMNS.join(", ")} and ${CATEGORY_COLUMNS.join(" or ")}.`,
  );
}

/**
 * Returns an error for the first number that is not written in digits only; undefined when there is none. Notations of
 * JSON such as 24.00 and 1e3 are errors too: the cell of a price may contain major units by mistake.
 */
export function findNumberError(columns: readonly string[], cells: readonly string[]): string | undefined {
  const index = columns.findIndex(
    (column, at) => NUMBER_COLUMNS.includes(column) && !/^(?:-?\d+)?$/.test(cells[at] ?? ""),
  );
  if (index < 0) return undefined;
  return `${columns[index]}: must be a whole number such as 1999, not ${quoted(cells[index] ?? "")}`;
}

/** Returns the row in the JSON of the contract. Empty cells are absent fields, except for tax class and weight. */
export function toJson(columns: readonly string[], cells: readonly string[]): JsonObject {
  const row: JsonObject = {};
  const price: JsonObject = {};
  const attributes: [name: string, value: string][] = [];
  for (const [index, column] of columns.entries()) {
    const cell = cells[index] || EMPTY_VALUES.get(column);
    if (cell === undefined) continue;
    if (column === "price_minor_units") price.minorUnits = cell;
    else if (column === "currency_code") price.currencyCode = cell;
    else if (column.startsWith(ATTRIBUTE_PREFIX))
      attributes.push([column.slice(ATTRIBUTE_PREFIX.length), cell]);
    else row[column] = cell;
  }
  return { ...row, attributes: Object.fromEntries(attributes), price };
}

/**
 * Returns whether a cell contains the end of its row, whole rows and the beginning of another row: then two misplaced
 * quotes have made one cell of them. Each of its lines has as many commas as its part of a row, and the price and the
 * currency of a row are in their places.
 * @param index position of the cell in its row
 */
export function containsRows(columns: readonly string[], cell: string, index: number): boolean {
  const lines = cell.split(/\r\n|\r|\n/).map((line) => line.split(","));
  const [end, beginning] = [lines[0] ?? [], lines.at(-1) ?? []];
  if (lines.length < 2 || end.length !== columns.length - index || beginning.length !== index + 1)
    return false;
  if (lines.slice(1, -1).some(({ length }) => length !== columns.length)) return false;
  const row = [...beginning.slice(0, index), ...end];
  const cellOf = (name: string) => row[columns.indexOf(name)] ?? "";
  return /^\d+$/.test(cellOf("price_minor_units")) && /^[A-Z]{3}$/.test(cellOf("currency_code"));
}
