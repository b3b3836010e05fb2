import { escapeLiteral } from "pg";
import type { Database } from "../../../src/infra/postgres/postgres.ts";
import { type CompiledStatement, compileStatement } from "../../../src/infra/postgres/statement.ts";
import type { TestDatabase } from "../stores/database.ts";

/** Wraps a database so that it records the statements of its reads. */
export function recordStatements(db: Database, statements: CompiledStatement[]): Database {
  return {
    ...db,
    read(call, statement) {
      statements.push(compileStatement(statement));
      return db.read(call, statement);
    },
  };
}

/** A node of a plan in the output of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON). */
interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  Plans?: PlanNode[];
}

/** What a statement reads. */
export interface QueryPlan {
  indexes: string[];
  /** Tables with a sequential scan. */
  scanned: string[];
  /** Pages of 8 KiB. */
  blocks: number;
  /** Rows of tables and indexes, including those that a filter removed. */
  rows: number;
}

/** Number of statements so far, for their names. */
let explained = 0;

/**
 * Returns the plan that a statement has after several uses: of a prepared one PostgreSQL makes five plans for its
 * values and then may keep a generic one; others are planned for their values each time.
 */
export async function explainStatement(
  database: TestDatabase,
  { text, values, name: preparedName }: CompiledStatement,
): Promise<QueryPlan> {
  explained += 1;
  const name = `plan_${explained}`;
  await database.query(`set plan_cache_mode = ${preparedName === undefined ? "force_custom_plan" : "auto"}`);
  await database.query(`prepare ${name} as ${text}`);
  const execute = values.length === 0 ? name : `${name}(${values.map(literal).join(", ")})`;
  for (let time = 0; time < 6; time += 1) await database.query(`explain execute ${execute}`);
  const [row] = await database.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
    `explain (analyze, buffers, timing off, format json) execute ${execute}`,
  );
  if (row === undefined) throw new Error("no plan");
  const root = row["QUERY PLAN"][0].Plan;
  const nodes = flatten(root);
  const scans = nodes.filter((node) => node["Node Type"].includes("Scan") && node.Plans === undefined);
  return {
    indexes: nodes.flatMap((node) => node["Index Name"] ?? []),
    scanned: nodes.filter(isSequentialScan).map((node) => node["Relation Name"] ?? ""),
    blocks: root["Shared Hit Blocks"] + root["Shared Read Blocks"],
    rows: scans.reduce(
      (sum, node) =>
        sum + (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"],
      0,
    ),
  };
}

function isSequentialScan(node: PlanNode): boolean {
  return node["Node Type"].endsWith("Seq Scan");
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return escapeLiteral(`{${value.map((item) => JSON.stringify(item)).join(",")}}`);
  return escapeLiteral(value instanceof Date ? value.toISOString() : String(value));
}
