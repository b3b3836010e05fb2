import { type RawBuilder, sql } from "kysely";
import type { SnapshotQuery } from "../../infra/postgres/postgres.ts";
import type { Check, CheckResult } from "./check.ts";
import { checks } from "./checks.ts";

interface BreachRow {
  resource: string;
  values: Record<string, string>;
  breach_count: string;
}

/**
 * Keeps the tables of the outbox from being truncated until the transaction ends: a snapshot shows a truncated table as
 * empty, even if it is older than the truncation. To be called before any other statement, which takes the snapshot.
 */
export async function preventTruncation(query: SnapshotQuery): Promise<void> {
  await query(sql`lock table outbox_1, outbox_2, outbox_3 in access share mode`);
}

/**
 * Runs all checks, one after the other.
 * @param query runs a statement; all in one snapshot, or writes between the checks are reported as breaches
 * @param maxBreaches maximum number of breaches to return for each check
 */
export async function runChecks(query: SnapshotQuery, maxBreaches: number): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) results.push(await runCheck(query, check, maxBreaches));
  return results;
}

async function runCheck(query: SnapshotQuery, check: Check, maxBreaches: number): Promise<CheckResult> {
  const { name, invariant, description } = check;
  const startMs = performance.now();
  const rows = await query(breachesOf(check, maxBreaches));
  return {
    name,
    invariant,
    description,
    breachCount: BigInt(rows[0]?.breach_count ?? 0),
    breaches: rows.map(({ resource, values }) => ({ resource, values })),
    durationMs: performance.now() - startMs,
  };
}

/** Values are converted to text, because JSON numbers are not exact. */
const breachesOf = (check: Check, maxBreaches: number): RawBuilder<BreachRow> => sql<BreachRow>`
  select resource, breach_count, (
    select coalesce(json_object_agg(key, coalesce(value, '')), '{}')
    from json_each_text(to_json(breach)) where key not in ('resource', 'breach_count')
  ) as values
  from (
    select *, count(*) over () as breach_count from (${sql.raw(check.query)}) as found
    order by resource limit ${maxBreaches}
  ) as breach
  order by resource`;
