import type { Breach, CheckResult, Verification } from "../../operations/operations.ts";
import { formatCount, formatQuantity } from "../format-count.ts";

/** Formats the results of all checks: a line for each check, followed by its breaches, and a summary. */
export function formatVerification({ snapshotTime, checks }: Verification): string {
  const nameWidth = Math.max(...checks.map(({ name }) => name.length));
  const failed = checks.filter(({ breachCount }) => breachCount > 0n).length;
  const summary =
    failed === 0
      ? `All ${formatQuantity(checks.length, "check")} passed`
      : `${failed} of ${formatQuantity(checks.length, "check")} failed`;
  return [
    ...checks.flatMap((check) => formatCheck(check, nameWidth)),
    `${summary} on the data of ${snapshotTime.toISOString()}.`,
  ].join("\n");
}

function formatCheck(check: CheckResult, nameWidth: number): string[] {
  const { invariant, name, description, breachCount, breaches, durationMs } = check;
  const result =
    breachCount === 0n ? `passed in ${(durationMs / 1_000).toFixed(1)} s` : formatBreachCount(breachCount);
  const line = `${invariant.padEnd(4)}${name.padEnd(nameWidth)}  ${result}`;
  if (breachCount === 0n) return [line];
  const hidden = breachCount - BigInt(breaches.length);
  return [
    line,
    `    Expected: ${description}`,
    ...breaches.map(formatBreach),
    ...(hidden > 0n ? [`    and ${formatBreachCount(hidden)} more`] : []),
  ];
}

const formatBreachCount = (count: bigint): string =>
  `${formatCount(count)} ${count === 1n ? "breach" : "breaches"}`;

function formatBreach({ resource, values }: Breach): string {
  const pairs = Object.entries(values).map(([name, value]) => `${name} ${value || "none"}`);
  return `    ${resource}: ${pairs.join(", ")}`;
}
