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

/** An error of a call with its google.rpc details. */
export interface ErrorDetails {
  code: Code;
  /** The message for people, without the code. */
  message: string;
  /** The stable reason for programs, such as OUT_OF_STOCK. Empty when the service did not respond. */
  reason: string;
  /** Values that belong to the reason, such as current_etag. */
  metadata: Readonly<Record<string, string>>;
  /** The invalid fields of the request, by their paths. */
  fieldViolations: readonly BadRequest_FieldViolation[];
  /** The states that prevent the call, such as a product out of stock. */
  preconditions: readonly PreconditionFailure_Violation[];
  /** The resource that is missing or already exists. */
  resource: ResourceInfo | undefined;
  /** The delay before a retry, in milliseconds. */
  retryDelayMs: number | undefined;
}

/** Returns the google.rpc details of an error that a call threw. */
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
