import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import {
  type BadRequest_FieldViolation,
  BadRequestSchema,
  ErrorInfoSchema,
  type PreconditionFailure_Violation,
  PreconditionFailureSchema,
  type ResourceInfo,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";

/** What an error says, for programs. */
export interface ErrorDetails {
  code: Code;
  /** A sentence for a person, without the code. */
  message: string;
  /** Stable, in UPPER_SNAKE_CASE, such as OUT_OF_STOCK: switch on it. Empty when the shop did not answer. */
  reason: string;
  /** Values that belong to the reason, such as current_etag. */
  metadata: Readonly<Record<string, string>>;
  /** The fields of the request that are wrong, by their paths. */
  fieldViolations: readonly BadRequest_FieldViolation[];
  /** The states that forbid the call, such as a product with too few units. */
  preconditions: readonly PreconditionFailure_Violation[];
  /** What is missing or already there. */
  resource: ResourceInfo | undefined;
  /** How long to wait before the next try, milliseconds. */
  retryDelayMs: number | undefined;
}

/** Reads the google.rpc details of whatever a call threw. */
export function errorDetails(thrown: unknown): ErrorDetails {
  const error = ConnectError.from(thrown);
  const [info] = error.findDetails(ErrorInfoSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    fieldViolations: error.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations),
    preconditions: error.findDetails(PreconditionFailureSchema).flatMap((detail) => detail.violations),
    resource: error.findDetails(ResourceInfoSchema)[0],
    retryDelayMs: retry?.retryDelay && durationMs(retry.retryDelay),
  };
}
