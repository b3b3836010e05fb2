import { type DescService, getOption } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { CustomerService } from "../../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import {
  Access,
  method,
  RateLimitClass,
  RequestId,
  Scope,
} from "../../gen/cartwright/policy/v1/policy_pb.ts";
import { ReviewService } from "../../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";

/** All services of the shop, in the order of the documentation. */
export const services: readonly DescService[] = [
  CatalogService,
  OrderService,
  TrackerService,
  ReviewService,
  CustomerService,
  IdentityService,
];

/** The name of an enum's value in lower case, with blanks. */
function word(values: Record<string, unknown>, value: number): string {
  const name = Object.keys(values).find((key) => values[key] === value) ?? String(value);
  return name.toLowerCase().replaceAll("_", " ");
}

function span(ms: number): string {
  return ms % 3_600_000 === 0
    ? `${ms / 3_600_000} h`
    : ms % 60_000 === 0
      ? `${ms / 60_000} min`
      : `${ms / 1_000} s`;
}

/** The table of all methods with their policies, in Markdown, read from the contracts. */
export function methodsTable(): string {
  const rows = services.flatMap((service) =>
    service.methods.map((rpc) => {
      const { access, scope, rateLimit, cache, deadline, requestId } = getOption(rpc, method);
      const cells = [
        `${service.name}/${rpc.name}`,
        word(Access, access),
        scope === Scope.UNSPECIFIED ? "" : word(Scope, scope).replace(" ", "-"),
        rateLimit === undefined ? "" : `${word(RateLimitClass, rateLimit.class)} ${rateLimit.cost}`,
        cache?.freshFor === undefined ? "" : span(durationMs(cache.freshFor)),
        deadline?.default === undefined || deadline.max === undefined
          ? ""
          : `${span(durationMs(deadline.default))}, ${span(durationMs(deadline.max))}`,
        requestId === RequestId.UNSPECIFIED ? "" : word(RequestId, requestId),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  );
  const head =
    "| method | who may call | or a key with | costs | may be cached for | deadline: default, most | request_id |";
  return [head, "| --- | --- | --- | --- | --- | --- | --- |", ...rows].join("\n");
}
