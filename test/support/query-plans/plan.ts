import { escapeLiteral } from "pg";
import type { Database, TextStatement } from "../../../src/infra/postgres/postgres.ts";
import { compileStatement } from "../../../src/infra/postgres/statement.ts";
import type { TestDatabase } from "../database.ts";

/** A statement that the service sent. */
export interface Sent {
  statement: TextStatement;
  values: readonly unknown[];
}

/** A database that also notes the statements of its reads. */
export function noting(db: Database, sent: Sent[]): Database {
  return {
    ...db,
    read(call, statement, values) {
      if ("isRawBuilder" in statement || "values" in statement) {
        const { values: own, ...compiled } = compileStatement(statement);
        sent.push({ statement: compiled, values: own });
      } else sent.push({ statement, values: values ?? [] });
      return db.read(call, statement, values);
    },
  };
}

/** One step of a plan as EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) shows it. */
interface Node {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  Plans?: Node[];
}

/** What a plan does. */
export interface Plan {
  indexes: string[];
  /** Tables that are read from end to end. */
  scanned: string[];
  /** Pages of 8 KiB that it looked at. */
  blocks: number;
  /** Rows that it looked at in tables and indexes, those that a filter threw away too. */
  rows: number;
}

let prepared = 0;

/**
 * The plan that a statement has once it is in steady use: of a named one PostgreSQL makes five plans for the
 * values at hand and then may keep a general one; others are planned for their values each time.
 */
export async function planOf(database: TestDatabase, { statement, values }: Sent): Promise<Plan> {
  prepared += 1;
  const name = `plan_${prepared}`;
  await database.query(
    `set plan_cache_mode = ${statement.name === undefined ? "force_custom_plan" : "auto"}`,
  );
  await database.query(`prepare ${name} as ${statement.text}`);
  const execute = values.length === 0 ? name : `${name}(${values.map(literal).join(", ")})`;
  for (let time = 0; time < 6; time += 1) await database.query(`explain execute ${execute}`);
  const [row] = await database.query<{ "QUERY PLAN": [{ Plan: Node }] }>(
    `explain (analyze, buffers, timing off, format json) execute ${execute}`,
  );
  if (row === undefined) throw new Error("no plan");
  const top = row["QUERY PLAN"][0].Plan;
  const nodes = flatten(top);
  const reads = nodes.filter((node) => node["Node Type"].includes("Scan") && node.Plans === undefined);
  return {
    indexes: nodes.flatMap((node) => node["Index Name"] ?? []),
    scanned: nodes.filter(isWhole).map((node) => node["Relation Name"] ?? ""),
    blocks: top["Shared Hit Blocks"] + top["Shared Read Blocks"],
    rows: reads.reduce(
      (sum, node) =>
        sum + (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"],
      0,
    ),
  };
}

function isWhole(node: Node): boolean {
  return node["Node Type"].endsWith("Seq Scan");
}

function flatten(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return escapeLiteral(`{${value.map((item) => JSON.stringify(item)).join(",")}}`);
  return escapeLiteral(value instanceof Date ? value.toISOString() : String(value));
}
