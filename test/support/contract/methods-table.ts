import type { DescMethod } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  Access,
  type Cache,
  type Deadline,
  type RateLimit,
  RateLimitClass,
  RequestId,
  Scope,
} from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { services } from "../../../src/app.ts";
import { durationMs, methodKey, methodPolicy } from "../../../src/rpc/policy/method-policy.ts";

/** Returns the name of an enum value in lower case, with spaces. */
function enumName(values: Record<string, unknown>, value: number): string {
  const name = Object.keys(values).find((key) => values[key] === value) ?? String(value);
  return name.toLowerCase().replaceAll("_", " ");
}

function formatDuration(duration: Duration | undefined): string {
  const ms = durationMs(duration);
  if (ms === 0) return "";
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000} h`;
  return ms % 60_000 === 0 ? `${ms / 60_000} min` : `${ms / 1_000} s`;
}

function deadlines(deadline: Deadline | undefined): string {
  if (deadline?.unlimited === true) return "none";
  return `${formatDuration(deadline?.default)}, ${formatDuration(deadline?.max)}`;
}

function cachedFor(cache: Cache | undefined): string {
  const http = cache?.httpMaxAge === undefined ? "" : `, HTTP ${formatDuration(cache.httpMaxAge)}`;
  return `${formatDuration(cache?.freshFor)}${http}`;
}

function costs(rateLimit: RateLimit | undefined): string {
  if (rateLimit === undefined) return "";
  const anonymous = rateLimit.anonymousCost === 0 ? "" : `, anonymous ${rateLimit.anonymousCost}`;
  return `${enumName(RateLimitClass, rateLimit.class)} ${rateLimit.cost}${anonymous}`;
}

function tableRow(method: DescMethod): string {
  const policy = methodPolicy(method);
  if (policy === undefined) throw new Error(`${methodKey(method)} has no policy`);
  const { access, scope, rateLimit, cache, deadline, requestId } = policy;
  const cells = [
    `${method.parent.name}/${method.name}`,
    enumName(Access, access),
    scope === Scope.UNSPECIFIED ? "" : enumName(Scope, scope).replace(" ", "-"),
    costs(rateLimit),
    cachedFor(cache),
    deadlines(deadline),
    requestId === RequestId.UNSPECIFIED ? "" : enumName(RequestId, requestId),
  ];
  return `| ${cells.join(" | ")} |`;
}

/** Returns the table of all methods with their effective policies, in Markdown. */
export function methodsTable(): string {
  const head =
    "| method | access | API key scope | cost | cached for | deadline: default, maximum | request_id |";
  const rows = services.flatMap((service) => service.methods.map(tableRow));
  return [head, "| --- | --- | --- | --- | --- | --- | --- |", ...rows].join("\n");
}
