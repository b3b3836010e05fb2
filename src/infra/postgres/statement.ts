import { createHash } from "node:crypto";
import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
  sql,
} from "kysely";
import { arrayText } from "./array-text.ts";

declare const row: unique symbol;

/** A compiled statement. PostgreSQL plans it once for each connection and keeps the plan under the name. */
export interface PreparedStatement<Row> {
  readonly text: string;
  /** Hash of the text: PostgreSQL truncates names to 63 bytes. */
  readonly name: string;
  /** Values of $1, $2 and so on. */
  readonly values: readonly unknown[];
  readonly [row]?: Row;
}

/** A statement that returns rows of type `Row`. Without preparation, PostgreSQL plans it for its values each time. */
export type Statement<Row> = RawBuilder<Row> | PreparedStatement<Row>;

/** Text and values as the driver takes them. */
export interface CompiledStatement {
  text: string;
  values: readonly unknown[];
  /** Undefined for a statement that is not prepared. */
  name: string | undefined;
}

/** The position of a value in a prepared statement. */
export class Parameter {
  /** Index among the arguments. */
  readonly index: number;

  constructor(index: number) {
    this.index = index;
  }
}

/** A parameter for each value. */
export type ParametersOf<Values extends readonly unknown[]> = { [Index in keyof Values]: Parameter };

/** Compiles only; it never connects. */
const compiler = new Kysely<unknown>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/**
 * Compiles a statement once, for all calls: `prepare<[id: string], ProductRow>((id) => sql`... where id = ${id}`)`.
 * @returns a function that binds values; it neither compiles nor hashes, since it runs for each call
 */
export function prepare<Values extends readonly unknown[], Row>(
  build: (...parameters: ParametersOf<Values>) => RawBuilder<Row>,
): (...values: Values) => PreparedStatement<Row>;
export function prepare(
  build: (...parameters: Parameter[]) => RawBuilder<unknown>,
): (...values: unknown[]) => PreparedStatement<unknown> {
  const bind = prepareList(build.length, (parameters) => build(...parameters));
  return (...values) => bind(values);
}

/** Compiles a statement like `prepare`, with a number of parameters that depends on a list, such as one of columns. */
export function prepareList<Row>(
  count: number,
  build: (parameters: readonly Parameter[]) => RawBuilder<Row>,
): (values: readonly unknown[]) => PreparedStatement<Row> {
  const { text, values: slots } = compile(
    build(Array.from({ length: count }, (_, index) => new Parameter(index))),
  );
  const name = nameOf(text);
  return (values) => ({
    text,
    name,
    values: slots.map((slot) => toParameter(slot instanceof Parameter ? values[slot.index] : slot)),
  });
}

/** Returns a value as the driver takes it. */
function toParameter(value: unknown): unknown {
  return Array.isArray(value) ? arrayText(value) : value;
}

/** A column of rows that a statement receives as arrays, one for each column. */
export interface ListColumn<Item> {
  name: string;
  /** SQL type. */
  type: string;
  value(item: Item): string | number | boolean | Date | Buffer | null;
}

/** Returns the table of arrays: `unnest($1::uuid[], $2::text[]) as <alias> (<names>)`. */
export function unnest<Item>(
  columns: readonly ListColumn<Item>[],
  arrays: readonly unknown[],
  alias: string,
): RawBuilder<unknown> {
  const lists = columns.map(({ type }, index) => sql`${arrays[index]}::${sql.raw(type)}[]`);
  const names = columns.map(({ name }) => sql.ref(name));
  return sql`unnest(${sql.join(lists)}) as ${sql.ref(alias)} (${sql.join(names)})`;
}

/** Returns the array of each column. */
export function arraysOf<Item>(columns: readonly ListColumn<Item>[], items: readonly Item[]): unknown[][] {
  return columns.map(({ value }) => items.map(value));
}

/**
 * Prepares a statement whose text depends on the call. Each text stays in each connection, so only a few may exist:
 * use it for the usual combinations of conditions, not for lists of columns or values.
 */
export function prepareDynamic<Row>(statement: RawBuilder<Row>): PreparedStatement<Row> {
  const { text, values } = compile(statement);
  return prepareText(text, values);
}

/** Prepares a text that a library has composed, with its values. */
export function prepareText<Row>(text: string, values: readonly unknown[]): PreparedStatement<Row> {
  return { text, name: nameOf(text), values };
}

/** Returns text, values and name of a statement. */
export function compileStatement(statement: Statement<unknown>): CompiledStatement {
  return "isRawBuilder" in statement ? compile(statement) : statement;
}

/** Joins conditions with `and`; those that are undefined do not apply. Without any it is `true`. */
export function allOf(conditions: readonly (RawBuilder<unknown> | undefined)[]): RawBuilder<boolean> {
  const present = conditions.filter((condition) => condition !== undefined);
  return present.length === 0 ? sql<boolean>`true` : sql<boolean>`${sql.join(present, sql` and `)}`;
}

function compile(statement: RawBuilder<unknown>): CompiledStatement {
  const { sql: text, parameters: values } = statement.compile(compiler);
  return { text, values, name: undefined };
}

function nameOf(text: string): string {
  return createHash("sha1").update(text).digest("base64url");
}
